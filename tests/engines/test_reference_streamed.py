"""The streamed reference: the plain numbers, in less memory than the weights, after a kill too."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import candidate, recorder, session
from harness.base.errors import RequestError
from harness.base.record import Scores
from harness.candidate import Opened
from harness.recording import Trace
from launchers.pins import GREEDY, LoadedPin
from suites import corpus
from tests.engines import checkpoints
from tests.engines.command_line import shown_right, verdict_of
from tests.engines.conftest import EVERY_FOURTH, FEWEST
from tests.engines.reference_servers import (
    Server,
    difference,
    equal,
    pin_of,
    random_sequences,
    serving,
    variant,
)

STREAMED = "args.implementation=streamed-direct"
LAYERS = 10
SEQUENCES = random_sequences([150, 9, 64, 1, 40])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A plain server of tiny-moe, which can stream too."""
    yield from _plain("tiny-moe/reference", tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def plain_k2(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """The same of tiny-k2."""
    yield from _plain("tiny-k2/reference", tmp_path_factory.mktemp("plain"))


def _plain(name: str, folder: Path) -> Generator[Server]:
    pin = pin_of(None, f"args.work-folder={folder}", name=name)
    with serving(pin, folder / "log") as server:
        yield server


@pytest.mark.parametrize("model", ["plain", "plain_k2"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "bfloat16"},
        {"batch": 3},
        {"chunk": 48},
        {"batch": 2, "chunk": 50, "dtype": "float64"},
    ],
    ids=str,
)
def test_it_gives_the_plain_numbers_to_the_last_bit(
    model: str, options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue(model)
    for way, other in (("direct", "blocked"), ("transformers", "sdpa")):
        for attention in ("eager", other):
            asked = {"attention": attention, **options}
            scores = server.scores(SEQUENCES, variant(way, **asked))
            assert equal(scores, server.scores(SEQUENCES, variant(f"streamed-{way}", **asked)))


def test_other_tokens_are_another_result(plain: Server) -> None:
    scores = plain.scores(SEQUENCES, variant("streamed-direct"))
    other = [(*SEQUENCES[0][:-1], 7), *SEQUENCES[1:]]
    assert not equal(scores, plain.scores(other, variant("streamed-direct")))


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server of tiny-moe that is started as streamed, with room for a few sequences only."""
    folder = tmp_path_factory.mktemp("streamed")
    limit = "args.memory-limit-gb=0.009"
    pin = pin_of(None, STREAMED, limit, f"args.work-folder={folder / 'work'}")
    with serving(pin, folder / "log") as server:
        yield server


def test_a_streamed_server_is_asked_everything_at_once_and_keeps_nothing(
    streamed: Server, plain: Server
) -> None:
    scores = streamed.asker.score(SEQUENCES, 20, at_once=2)
    log = streamed.engine.log.read_text()
    assert "264 tokens" in log  # all of them in one request
    assert list((streamed.engine.log.parent / "work").iterdir()) == []
    assert equal(scores, plain.scores(SEQUENCES, variant("direct")))


def test_sequences_that_do_not_fit_together_are_computed_in_rounds(streamed: Server) -> None:
    many = random_sequences([150] * 8)
    scores = streamed.scores(many, None)
    rounds = re.findall(r"1200 tokens, (\d+) rounds", streamed.engine.log.read_text())
    assert int(rounds[-1]) > 1
    assert equal(scores[:1], streamed.scores(many[:1], None))


def test_sequences_that_do_not_fit_at_all_are_refused(streamed: Server) -> None:
    with pytest.raises(RequestError, match=r"400.*limit of 0\.009 GB is too small"):
        streamed.scores(random_sequences([2000]), None)


def test_a_streamed_server_never_loads_the_whole_model(streamed: Server) -> None:
    with pytest.raises(RequestError, match="this server has only"):
        streamed.scores(SEQUENCES, variant("direct"))


def test_it_generates_what_it_scores(streamed: Server) -> None:
    prompts = SEQUENCES[:2]
    generations = streamed.asker.generate(
        prompts, max_new_tokens=4, sampling=GREEDY, seeds=[0, 0], top_k=20, at_once=2
    )
    whole = [p + g.token_ids for p, g in zip(prompts, generations, strict=True)]
    for prompt, scores in zip(prompts, streamed.scores(whole, None), strict=True):
        own = slice(len(prompt) - 1, None)
        assert abs(scores.logprobs[own] - scores.top_logprobs[own, 0]).max() < 2e-4


def test_a_trace_is_recorded_on_tokens_from_elsewhere_and_can_support_equivalent(
    tmp_path: Path,
) -> None:
    name, changes = "tiny-moe/reference", (STREAMED, f"args.work-folder={tmp_path / 'work'}")
    with candidate.opened(
        name, candidate.prepared(name, changes), log=tmp_path / "log", announce=lambda _: None
    ) as opened:
        recorder.record(
            opened,
            corpus.load()[::80],
            corpus="every 80th",
            path=tmp_path / "streamed.trace",
            announce=lambda _: None,
            classes=("fp32",),
            continue_by=session.continuing("tiny-moe/reference", None, lambda _: None),
        )
    trace = Trace(tmp_path / "streamed.trace")
    (tolerances,) = trace.manifest["tolerances"]
    assert tolerances["implementations"] == ["streamed-transformers", "streamed-direct"]
    assert tolerances["weakness"] is None
    by = trace.manifest["sampling"]["continued_by"]
    assert (by["title"], by["identity"]["implementation"]) == (name, "transformers")
    assert "POST /generate" not in (tmp_path / "log").read_text()


def test_an_engine_renders_for_a_reference_without_a_tokenizer_and_is_equivalent(
    vllm: Opened, tmp_path: Path
) -> None:
    folder, path = checkpoints.without_tokenizer(tmp_path / "model"), tmp_path / "own.trace"
    work = f"args.work-folder={tmp_path / 'work'}"
    name, changes = "tiny-moe/reference", (STREAMED, work, f"model.path={folder}")
    with candidate.opened(
        name, candidate.prepared(name, changes), log=tmp_path / "log", announce=lambda _: None
    ) as opened:
        recorder.record(
            opened,
            [case for case in corpus.load()[::EVERY_FOURTH] if case.stratum in FEWEST],
            corpus=f"every {EVERY_FOURTH}th chat and text",
            path=path,
            announce=lambda _: None,
            classes=("fp32",),
            continue_by=session.continuing(vllm.url, None, lambda _: None),
        )
    assert set(re.findall(r"POST (\S+)", (tmp_path / "log").read_text())) == {"/score"}
    trace = Trace(path)
    assert trace.rendered_by == trace.manifest["sampling"]["continued_by"]["title"] == vllm.url
    assert _texts_are_read_back(trace) > 5
    verdict, code = verdict_of(vllm.url, "--against", path)
    shown_right(verdict, code)
    assert f"as {vllm.url} renders them" in str(verdict["caveats"])
    assert f"as those of {vllm.url}" in str(verdict["levels"][1]["reasons"])  # of L0


def _texts_are_read_back(trace: Trace) -> int:
    """How many plain texts of ASCII there are: the words of each make it up."""
    words, found = trace.vocabulary(), 0
    for row in range(len(trace)):
        recorded = trace[row]
        prompt = recorded.case.prompt
        if isinstance(prompt, str) and prompt.isascii():
            own = recorded.token_ids[: recorded.prompt_tokens]
            assert "".join(words[i].text for i in own) == prompt
            found += 1
    return found


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Path, int]]:
    """A folder with 2 GB of weights, and their exact size; removed at the end."""
    folder = tmp_path_factory.mktemp("big") / "model"
    size = checkpoints.big(folder, layers=LAYERS, experts=64, hidden=1024, intermediate=512)
    yield folder, size
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def undisturbed(big: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory) -> list[Scores]:
    """What the big model says; computed in less memory than its weights take."""
    folder, size = big
    assert size > 2e9
    place = tmp_path_factory.mktemp("undisturbed")
    with serving(_pin(folder, place, limit_gb=0.2), place / "log") as server:
        before = server.peak_bytes()
        scores = server.scores(SEQUENCES, None)
        assert server.peak_bytes() < before + 0.2e9 < size / 2
    return scores


def test_a_big_model_takes_less_memory_than_its_weights(
    big: tuple[Path, int], undisturbed: list[Scores], tmp_path: Path
) -> None:
    """So does the second implementation, and says the same."""
    folder, size = big
    with serving(_pin(folder, tmp_path, limit_gb=0.8), tmp_path / "log") as server:
        before = server.peak_bytes()
        scores = server.scores(SEQUENCES, variant("streamed-transformers"))
        assert server.peak_bytes() < before + 0.8e9 < size * 0.75  # with all experts of a layer
    assert difference(scores, undisturbed).max() < 5e-4


def test_a_killed_run_goes_on_after_the_last_layer_and_ends_the_same(
    big: tuple[Path, int], undisturbed: list[Scores], tmp_path: Path
) -> None:
    pin = _pin(big[0], tmp_path, limit_gb=0.2)
    with serving(pin, tmp_path / "first") as server, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(server.scores, SEQUENCES, None)
        _wait_for(f"layer 3 of {LAYERS}", tmp_path / "first")
        os.kill(server.engine.pid, signal.SIGKILL)
        with pytest.raises(RequestError):
            asked.result()
    with serving(pin, tmp_path / "second") as server:
        other = random_sequences([20])
        assert not equal(server.scores(other, None), undisturbed[:1])
        assert "done before" not in (tmp_path / "second").read_text()
        assert equal(server.scores(SEQUENCES, None), undisturbed)
    log = (tmp_path / "second").read_text()
    done = [int(n) for n in re.findall(rf"layer (\d+) of {LAYERS} was done before", log)]
    assert done[:3] == [1, 2, 3]
    read = re.findall(rf"layer (\d+) of {LAYERS}, .* GB read", log)
    assert [int(n) for n in read[LAYERS:]] == list(range(len(done) + 1, LAYERS + 1))
    assert list((tmp_path / "work").iterdir()) == []


def test_a_run_that_was_killed_is_not_continued_on_another_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoints.MODELS / "tiny-moe", folder)
    pin = pin_of(folder, STREAMED, f"args.work-folder={tmp_path / 'work'}")
    with (
        serving(pin, tmp_path / "full", file_blocks=100) as server,
        pytest.raises(RequestError, match=r"cannot hold .*File too large.*--work-folder"),
    ):
        server.scores(SEQUENCES, None)
    (run,) = (tmp_path / "work").iterdir()
    assert [path.name for path in run.iterdir()] == ["run.json"]
    (folder / "model.safetensors").touch()
    with serving(pin, tmp_path / "log") as server:
        server.scores(SEQUENCES, None)
    assert list((tmp_path / "work").iterdir()) == [run]


def _pin(folder: Path, place: Path, *, limit_gb: float) -> LoadedPin:
    limit = f"args.memory-limit-gb={limit_gb}"
    return pin_of(folder, STREAMED, limit, f"args.work-folder={place / 'work'}")


def _wait_for(line: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while line not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
