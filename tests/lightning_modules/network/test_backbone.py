"""Anybody's ten lines: a backbone of any scheme, and what its recipes may do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from representative import REPRESENTATIVE
from synthetic_batches import SyntheticText, make_batch, make_classifier, make_network, make_trainer

from lightning_modules import build_backbone
from lightning_modules.errors import ConfigurationError
from lightning_modules.network.backbone import Recipe
from lightning_modules.network.parts import recipe
from lightning_modules.schemes.variants import TIME, VARIANTS

ROOT = Path(__file__).parents[3]
IDS = torch.randint(1, 50, (2, 7), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("variant", REPRESENTATIVE)
def test_every_scheme_takes_ids_or_vectors_causal_or_not(variant):
    backbone = build_backbone(variant, vocabulary_size=50, layers=2, width=16, dropout=0.0)
    vectors = build_backbone(variant, layers=2, width=16, dropout=0.0)
    for causal in (False, True) if TIME not in VARIANTS[variant].mixes else (False,):
        assert backbone(IDS, causal=causal).shape == (2, 7, 16)
        assert vectors(torch.randn(2, 7, 16), causal=causal).shape == (2, 7, 16)


def test_vectors_take_the_place_of_the_table_and_nothing_else():
    backbone = build_backbone("peri_ln", vocabulary_size=50, layers=2, width=16, dropout=0.0)
    mask = torch.tensor([[1] * 7, [1, 1, 1, 0, 0, 0, 0]])
    by_id = backbone(IDS, mask)
    torch.testing.assert_close(backbone(backbone.embeddings.table(IDS), mask.bool()), by_id)
    torch.testing.assert_close(backbone(IDS[1:, :3])[0], by_id[1, :3])


def test_a_backbone_without_a_vocabulary_refuses_ids():
    with pytest.raises(ConfigurationError, match="no vocabulary"):
        build_backbone(layers=1, width=16)(IDS)
    with pytest.raises(ConfigurationError, match="did you mean 'pre_ln'"):
        build_backbone("preln")


def test_a_backbone_starts_as_its_seed_and_its_recipes_say_and_leaves_the_generator_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    settings = {"vocabulary_size": 40, "layers": 2, "width": 16}
    one, same, other = (build_backbone("deepnorm", seed=seed, **settings) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    plain = build_backbone("post_ln", seed=5, **settings)
    assert all(map(torch.equal, one.parameters(), same.parameters()))
    matrices = zip(one.matrices(), other.matrices(), plain.matrices(), strict=True)
    for (_, name, mine), (_, _, others), (_, _, unscaled) in matrices:
        assert not torch.equal(mine, others)
        gain = 1 if name in ("attention_query", "attention_key") else 16**-0.25
        torch.testing.assert_close(mine, gain * unscaled)


def test_it_imports_no_lightning():
    code = """
    import sys
    from lightning_modules import build_backbone
    build_backbone("pre_ln", vocabulary_size=9, layers=1, width=8, heads=2)
    print(sorted({"lightning", "torchmetrics", "pytorch_lightning"} & set(sys.modules)))
    """
    said = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, cwd=ROOT)
    assert said.stdout.strip() == "[]", said.stderr


class Noting(Recipe):
    """Notes what it is called with, starts the head at zero and keeps the table's norm at 1."""

    def __init__(self):
        self.prepared, self.steps = [], 0

    def initialise(self, backbone, head):
        for parameter in head.parameters():
            parameter.zero_()

    def prepare(self, backbone, input_ids, attention_mask):
        assert not backbone.training and not torch.is_grad_enabled()
        self.prepared.append(input_ids)

    def after_step(self, backbone, head):
        self.steps += 1
        backbone.embeddings.table.weight.div_(backbone.embeddings.table.weight.norm())


def test_recipes_start_the_whole_network_and_act_after_every_optimiser_step_of_a_new_run(monkeypatch):
    made = []
    monkeypatch.setitem(recipe, "noting", lambda: made.append(Noting()) or made[-1])
    noted = VARIANTS["pre_ln"].derive("noted", recipes=("noting",))
    monkeypatch.setitem(VARIANTS, "noted", noted)
    module, data = make_classifier(variant="noted"), SyntheticText()
    trainer = make_trainer(max_epochs=2, accumulate_grad_batches=2)
    trainer.fit(module, datamodule=data)
    assert len(made) == 1
    assert [ids.tolist() for ids in made[0].prepared] == [data.train_batches[0]["input_ids"].tolist()]
    assert made[0].steps == int(module.network.backbone.step) == trainer.global_step == 6
    assert module.network.backbone.embeddings.table.weight.norm().item() == pytest.approx(1)
    fresh = make_network(variant="noted")
    assert not fresh.head.linear.weight.any()


def test_a_resumed_run_is_not_prepared_again(monkeypatch, tmp_path):
    made = []
    monkeypatch.setitem(recipe, "noting", lambda: made.append(Noting()) or made[-1])
    monkeypatch.setitem(VARIANTS, "noted", VARIANTS["pre_ln"].derive("noted", recipes=("noting",)))
    trainer = make_trainer(max_epochs=1)
    trainer.fit(make_classifier(variant="noted", schedule_epochs=2), datamodule=SyntheticText())
    trainer.save_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    resumed = make_classifier(variant="noted", schedule_epochs=2)
    make_trainer(max_epochs=2).fit(resumed, datamodule=SyntheticText(), ckpt_path=tmp_path / "last.ckpt")
    assert [len(noted.prepared) for noted in made] == [1, 0]
    assert resumed.network.backbone.step == 12


def test_preparing_leaves_the_mode_as_it_was():
    network, batch = make_network(dropout=0.5).train(), make_batch(4)
    network.prepare(batch["input_ids"], batch["attention_mask"])
    assert all(module.training for module in network.modules())
