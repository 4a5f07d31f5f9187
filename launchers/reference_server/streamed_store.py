"""The hidden states after each layer, on disk: what a killed run goes on from.

A run is named by everything that its numbers depend on, and has a folder of that name, so two runs
never mix: other sequences, another checkpoint or another dtype start anew beside it. A file is
written to a temporary name, flushed to the disk and renamed; only then is the layer before it
removed. The folder goes when the run is done.
"""

import hashlib
import json
import shutil
from pathlib import Path

from checkpoint_files import CheckpointFiles, write
from torch import Tensor

SCHEMA = 1  # raised when the same run would come out otherwise
SUFFIX = ".safetensors"


class WorkFolderError(OSError):
    """The work folder cannot take the hidden states; says what to do."""


def checkpoint_identity(folder: Path) -> dict:
    """Changes when a file of the model does: by size and time, for hashing 600 GB takes long."""
    files = [(path.name, path.stat()) for path in sorted(folder.glob("*.safetensors"))]
    return {
        "config": (folder / "config.json").read_text(),
        "files": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in files],
    }


class HiddenStore:
    """The hidden states of one run, in numbered rounds of sequences. Layer 0 is the embedding."""

    def __init__(self, work_folder: Path, run: dict) -> None:
        content = json.dumps({"schema": SCHEMA, **run}, sort_keys=True)
        self.key = hashlib.sha256(content.encode()).hexdigest()
        self.folder = work_folder / self.key[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run.json").write_text(content)  # for a reader of the folder
        for leftover in self.folder.glob("*.tmp"):
            leftover.unlink()

    def unfinished_beside(self) -> int:
        """How many other runs left their hidden states in the work folder."""
        return sum(folder != self.folder for folder in self.folder.parent.glob("*/"))

    def layers_done(self, number: int) -> int | None:
        """The last layer that this round has finished; None: not even the embedding."""
        layers = [int(path.stem.split("-")[3]) for path in self._files(number)]
        return max(layers, default=None)

    def load(self, number: int, layer: int) -> list[Tensor]:
        files = CheckpointFiles([self._path(number, layer)])
        return [files.read(str(index)) for index in range(len(files.tensors))]

    def save(self, number: int, layer: int, blocks: list[Tensor]) -> None:
        """Raises WorkFolderError if they do not fit; the layer before stays."""
        before = self._files(number)
        path = self._path(number, layer)
        temporary = path.with_suffix(".tmp")
        try:
            write(temporary, blocks)
            temporary.rename(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            size = sum(block.nbytes for block in blocks)
            raise WorkFolderError(
                f"{path}: cannot hold {size / 1e9:.3f} GB of hidden states after layer {layer}:"
                f" {error}; free space or take another --work-folder; asked again, the run goes on"
                " from the layer before"
            ) from error
        for old in before:
            old.unlink()

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _path(self, number: int, layer: int) -> Path:
        return self.folder / f"round-{number:04}-layer-{layer:04}{SUFFIX}"

    def _files(self, number: int) -> list[Path]:
        return list(self.folder.glob(f"round-{number:04}-layer-*{SUFFIX}"))
