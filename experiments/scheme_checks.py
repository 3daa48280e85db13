"""Properties that every scheme must have and that need no formula by hand: for a person's own file, before it trains.

Each property is a function that raises :class:`Fault` with what it found. They run in a process of their own, so that
an endless loop is a line like any other: :func:`run_checks` starts it and waits.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.scheme_checks")

import copy
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from typing import Any

from experiments.errors import ExperimentError
from lightning_modules.schemes.variants import PADDING, ROWS, TIME, VARIANTS

SECONDS = 60
"""Longest that one property may take."""

Finding = tuple[str, str, str]
"""Variant, property, and what is wrong; empty if nothing is."""


class Fault(Exception):
    """A property that a scheme does not have."""


def run_checks(path: Path, seconds: float = SECONDS) -> Iterator[Finding]:
    """Check all variants of a scheme file in another process, and yield a finding per variant and property.

    Raises:
        ExperimentError: the file cannot be loaded.
    """
    command = [sys.executable, "-m", "experiments.scheme_checks", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    current, ended = ("", "loading the file", ""), False
    while True:
        began = time.monotonic()
        timer = Timer(seconds, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        if not line:
            ended = time.monotonic() - began >= seconds
            break
        message = json.loads(line)
        if "error" in message:
            raise ExperimentError(message["error"])
        if "done" in message:
            process.wait()
            return
        if "begins" in message:
            current = (message["variant"], message["begins"], "")
        else:
            yield current[0], current[1], message["fault"]
    told = f"it was not done after {seconds:g} s" if ended else last_line(process.stderr.read())
    process.wait()
    yield current[0], current[1], told


def last_line(text: str) -> str:
    """Return the last line of a traceback, or what to say if there is no text."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its process ended without a word"


def main() -> None:
    """Check the variants of the file that the command line names; a line of JSON per event."""
    import torch

    from lightning_modules.errors import ConfigurationError
    from lightning_modules.schemes.own_files import load_scheme_file, read_scheme_file

    torch.set_num_threads(1)
    before = set(VARIANTS)

    def say(**message: Any) -> None:
        print(json.dumps(message), file=channel, flush=True)

    channel, sys.stdout = sys.stdout, sys.stderr  # what a scheme prints is no message of ours
    try:
        load_scheme_file(read_scheme_file(Path(sys.argv[1])))
    except ConfigurationError as error:
        say(error=str(error))
        return
    for name in [name for name in VARIANTS if name not in before]:
        for title, check in PROPERTIES.items():
            say(variant=name, begins=title)
            fault = ""
            try:
                check(name)
            except Fault as found:
                fault = str(found)
            except Exception as error:
                fault = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            say(fault=fault)
            if fault and title == "builds and keeps the shape":
                break  # every other property would say the same
    say(done=True)


def network_of(variant: str, dtype: Any = None, **settings: Any) -> Any:
    """Return a small network in evaluation mode."""
    import torch

    from lightning_modules.config import ModelConfig
    from lightning_modules.network.network import build_network

    config = ModelConfig(**{"variant": variant, "layers": 3, "width": 16, "dropout": 0.0, **settings})
    network = build_network(config, vocabulary_size=40, outputs=3, max_length=12, padding_id=0)
    return network.to(dtype or torch.float64).eval()


def moved(network: Any) -> Any:
    """Move every parameter off its start, so that what starts at zero or one takes part."""
    import torch

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((0.05 * noise).to(parameter.dtype))
    return network


def batch() -> tuple[Any, Any]:
    """Return ids and mask of five rows of up to eight tokens."""
    import torch

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 40, (5, 8), generator=generator)
    mask = torch.arange(8) < torch.tensor([8, 3, 5, 8, 1])[:, None]
    return ids * mask, mask


def require(holds: bool, fault: str) -> None:
    """Raise :class:`Fault` unless something holds."""
    if not holds:
        raise Fault(fault)


def close(one: Any, other: Any, tolerance: float = 1e-7) -> bool:
    """Tell whether two tensors are equal up to rounding, NaN being equal to nothing."""
    import torch

    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


def keeps_the_shape(variant: str) -> None:
    """It builds, and maps ``(B, T, D)`` to the same shape with finite numbers."""
    import torch

    network, (ids, mask) = network_of(variant), batch()
    x = network.backbone(ids, mask)
    require(isinstance(x, torch.Tensor), f"the backbone returns a {type(x).__name__}, no tensor")
    require(x.shape == (5, 8, 16), f"the shape changes from (5, 8, 16) to {tuple(x.shape)}")
    require(bool(x[mask].isfinite().all()), "some outputs are not finite")


def edits_nothing_in_place(variant: str) -> None:
    """The parts of a sublayer leave their inputs unchanged."""
    import torch

    from lightning_modules.network.sites import Site

    network, (ids, mask) = network_of(variant), batch()
    edited: list[str] = []
    given: dict[str, Any] = {}
    for name, part in network.named_modules():
        if isinstance(part, Site) and len(part):

            def note(module: Any, inputs: Any, name: str = name) -> None:
                given[name] = inputs[0].clone()

            def compare(module: Any, inputs: Any, output: Any, name: str = name) -> None:
                if not torch.equal(inputs[0], given[name]):
                    edited.append(name)

            part.register_forward_pre_hook(note)
            part.register_forward_hook(compare)
    x = torch.randn(5, 8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    with torch.no_grad():
        network(ids, mask)
        network.backbone(x, mask)
    require(torch.equal(x, before), "it edits the embeddings in place")
    require(not edited, f"an op edits its input in place at {', '.join(edited[:3])}")
    network.train()(ids, mask).sum().backward()


def draws_nothing(variant: str) -> None:
    """Evaluation draws no random number."""
    import torch

    network, (ids, mask) = network_of(variant), batch()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = network(ids, mask)
    require(torch.equal(state, torch.get_rng_state()), "it draws random numbers in evaluation")
    torch.manual_seed(1)
    require(torch.equal(first, network(ids, mask)), "two evaluations differ")


def takes_other_dtypes(variant: str) -> None:
    """It computes the same in float32 and float64, up to rounding, and nearly so in bfloat16 under autocast."""
    import torch

    ids, mask = batch()
    answers = {}
    for dtype in (torch.float32, torch.float64):
        answers[dtype] = network_of(variant, dtype)(ids, mask)
        require(answers[dtype].dtype == dtype, f"in {dtype} it answers in {answers[dtype].dtype}")
    exact = answers[torch.float64]
    require(close(answers[torch.float32].double(), exact, 1e-3), "float32 and float64 differ by more than rounding")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network_of(variant, torch.float32)(ids, mask).double()
    require(bool((rough - exact).norm() < 0.15 * exact.norm() + 0.05), "bfloat16 is far from float64")


def is_blind_to_padding(variant: str) -> None:
    """Padding changes nothing, unless the variant says that it mixes padding."""
    import torch.nn.functional as F

    network, (ids, mask) = moved(network_of(variant)), batch()
    same = close(network(ids, mask), network(F.pad(ids, (0, 3), value=7), F.pad(mask, (0, 3))))
    said = PADDING in VARIANTS[variant].mixes
    require(same or said, 'padding changes its answers; mend it, or say mixes=frozenset({"padding"})')


def keeps_rows_apart(variant: str) -> None:
    """A row's answer does not depend on the others, in training either, unless the variant says so."""
    import torch

    (ids, mask), mixes = batch(), VARIANTS[variant].mixes
    network = moved(network_of(variant, layers=2)).train()
    torch.manual_seed(0)
    together = copy.deepcopy(network)(ids, mask)[:1]
    torch.manual_seed(0)
    alone = copy.deepcopy(network)(ids[:1], mask[:1])
    said = ROWS in mixes or PADDING in mixes
    require(close(together, alone) or said, 'rows depend on each other; mend it, or say mixes=frozenset({"rows"})')


def hides_the_future(variant: str) -> None:
    """Under a causal mask later tokens change nothing, unless the variant says that it mixes time."""
    import torch

    from lightning_modules.network.context import Context

    network, mixes = moved(network_of(variant)), VARIANTS[variant].mixes
    network.train(ROWS in mixes)
    x = torch.randn(2, 7, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    earlier = []
    for inputs in (x, torch.cat([x[:, :4], -x[:, 4:]], dim=1)):
        context = Context(torch.ones(2, 7, dtype=torch.bool), causal=True, step=network.backbone.step)
        earlier.append(copy.deepcopy(network).blocks(inputs, context)[:, :4])
    same, said = close(*earlier), TIME in mixes
    require(same or said, 'later tokens leak into earlier ones; mend it, or say mixes=frozenset({"time"})')
    require(not (same and said), "it says that it mixes time, and does not")


def trains_every_parameter(variant: str) -> None:
    """Every parameter gets a finite gradient."""
    network, (ids, mask) = moved(network_of(variant)), batch()
    network.prepare(ids, mask)
    network.train()(ids, mask).square().sum().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    require(not without, f"no gradient reaches {', '.join(without[:3])}")
    broken = [name for name, parameter in network.named_parameters() if not parameter.grad.isfinite().all()]
    require(not broken, f"the gradient is not finite at {', '.join(broken[:3])}")


def starts_functions_alike(variant: str) -> None:
    """Attention and feed-forward network start as Pre-LN's do at the same seed, so that seeds pair runs."""
    import torch

    scheme = VARIANTS[variant]
    if scheme.recipes or scheme.attention != "softmax" or scheme.feed_forward != "two_layers" or scheme.layers == 0:
        return
    ours, theirs = (network_of(name).backbone.matrices() for name in (variant, "pre_ln"))
    pairs = zip(ours, theirs, strict=True)
    same = all(torch.equal(one[2], other[2]) for one, other in pairs)
    require(same, "its own draws shift those of attention and feed-forward network")


def decays_linear_weights_alone(variant: str) -> None:
    """Weight decay touches weights of ``nn.Linear`` alone."""
    from torch import nn

    from lightning_modules.config import ModelConfig
    from lightning_modules.training.optimization import parameter_groups

    network = network_of(variant)
    linear = {id(part.weight) for part in network.modules() if isinstance(part, nn.Linear)}
    for group in parameter_groups(ModelConfig(weight_decay=0.1), network):
        decays = group["weight_decay"] != 0 and {id(parameter) for parameter in group["params"]} - linear
        require(not decays, "weight decay touches parameters that are no weights of nn.Linear")


def has_no_dead_site(variant: str) -> None:
    """Every op that is built is used."""
    from lightning_modules.network.sites import Site

    network, visited = network_of(variant), set()
    sites = {name: part for name, part in network.named_modules() if isinstance(part, Site) and len(part)}
    for name, part in sites.items():
        part.register_forward_hook(lambda module, inputs, output, name=name: visited.add(name))
    network(*batch())
    dead = sorted(set(sites) - visited)
    require(not dead, f"nothing ever calls the op at {', '.join(dead[:3])}")


def resumes(variant: str) -> None:
    """Saved, loaded and trained on, it equals a network that was trained without a break."""
    import torch

    from lightning_modules.config import ModelConfig
    from lightning_modules.training.optimization import build_optimizer

    ids, mask = batch()
    config = ModelConfig(variant=variant, layers=2, width=16, learning_rate=3e-3)

    def steps(network: Any, optimizer: Any, seeds: range) -> list[float]:
        """Take an optimiser step for every seed of dropout, and return the losses."""
        losses = []
        for seed in seeds:
            torch.manual_seed(seed)
            optimizer.zero_grad()
            loss = network(ids, mask).logsumexp(-1).sum()
            loss.backward()
            optimizer.step()
            network.after_step()
            losses.append(loss.item())
        return losses

    network = network_of(variant, torch.float32, layers=2, dropout=0.1)
    network.prepare(ids, mask)
    network.train()
    optimizer = build_optimizer(config, network)
    steps(network, optimizer, range(3))
    saved = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, saved)
    expected = steps(network, optimizer, range(3, 5))
    saved.seek(0)
    state = torch.load(saved, weights_only=True)
    resumed = network_of(variant, torch.float32, layers=2, dropout=0.1, seed=9).train()
    resumed.load_state_dict(state["network"])
    again = build_optimizer(config, resumed)
    again.load_state_dict(state["optimizer"])
    require(steps(resumed, again, range(3, 5)) == expected, "a resumed run differs: some state is in no buffer")


def survives_depth(variant: str) -> None:
    """Loss and gradients are finite at 24 layers."""
    network, (ids, mask) = network_of(variant, layers=24), batch()
    network.prepare(ids, mask)
    loss = network.train()(ids, mask).logsumexp(-1).sum()
    loss.backward()
    finite = all(p.grad is None or bool(p.grad.isfinite().all()) for p in network.parameters())
    require(bool(loss.isfinite()) and finite, "loss or gradients are not finite at 24 layers")


def can_be_counted(variant: str) -> None:
    """Its shapes can be made on the meta device, for counting."""
    import torch

    from lightning_modules.network.backbone import build_backbone

    with torch.device("meta"):
        build_backbone(variant, layers=2, width=16)


def compiles(variant: str) -> None:
    """``torch.compile`` gives the same numbers, with few translations for all blocks."""
    import torch

    plain, compiled = (moved(network_of(variant, layers=6)) for _ in range(2))
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled.compile_blocks(backend)
    ids, mask = batch()
    require(close(compiled(ids, mask), plain(ids, mask)), "compiled, it computes something else")
    most = 8 if any(s.residual.state_grows for s in plain.blocks.sublayers()) else 4
    require(len(graphs) <= most, f"torch.compile needs {len(graphs)} translations of 6 blocks; {most} are enough")


PROPERTIES: dict[str, Callable[[str], None]] = {
    "builds and keeps the shape": keeps_the_shape,
    "edits nothing in place": edits_nothing_in_place,
    "draws nothing in evaluation": draws_nothing,
    "takes other dtypes": takes_other_dtypes,
    "is blind to padding": is_blind_to_padding,
    "keeps rows apart": keeps_rows_apart,
    "hides the future": hides_the_future,
    "trains every parameter": trains_every_parameter,
    "starts functions alike": starts_functions_alike,
    "decays linear weights alone": decays_linear_weights_alone,
    "has no dead site": has_no_dead_site,
    "resumes": resumes,
    "survives 24 layers": survives_depth,
    "can be counted": can_be_counted,
    "compiles": compiles,
}
"""What is checked, in order."""


if __name__ == "__main__":
    main()
