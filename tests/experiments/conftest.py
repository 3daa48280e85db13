"""Settings and fixtures of the tests of experiments."""

from collections.abc import Callable

import pytest

from experiments.cluster.ray_cluster import send_no_statistics

send_no_statistics()  # before a test module imports Ray


@pytest.fixture
def fails_with_one_line(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command, which must fail with one line and status 2, and return that line."""

    def run_and_fail(command: Callable[[list[str]], None], *arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            command([str(argument) for argument in arguments])
        assert stopped.value.code == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ") and message.count("\n") == 1
        return message

    return run_and_fail
