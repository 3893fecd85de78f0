"""What the tests share: an environment of their own, machines to pretend, processes to start, pictures and weights."""

from __future__ import annotations

import functools
import os
import platform
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import styletx  # isort: skip  # before torch, whose threads it keeps from spinning
import hypothesis
import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from weights_files import Server

from styletx import devices
from styletx.backbones import downloads

WIDTH, HEIGHT = 64, 48
STYLETX = (sys.executable, "-m", "styletx")
# Variables by which a person changes what styletx, the terminal and the libraries do.
PERSONAL = ("STYLETX_", "COLUMNS", "LINES", "TQDM_", "MPL", "XDG_", "ACCELERATE_", "RAY_ADDRESS")

# The same examples on every machine, however slow it is.
hypothesis.settings.register_profile(
    "styletx", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("styletx")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the tests can be told on pytest's command line."""
    group = parser.getgroup("styletx")
    group.addoption("--slow", action="store_true", help="run the tests marked slow, too")
    group.addoption(
        "--bfloat16",
        choices=("yes", "no"),
        help="pretend that the processor computes in bfloat16, or that it does not, whatever it can do",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU that is not here, and what takes long unless it was asked for."""
    if item.get_closest_marker("gpu") and not REAL_CUDA[0]():
        pytest.skip("needs a CUDA device")
    if (slow := item.get_closest_marker("slow")) and not item.config.getoption("--slow"):
        pytest.skip(f"slow ({slow.kwargs['reason']}); pytest --slow runs it")


class Machine:
    """Pretends another machine than the one that runs the test, until the test ends.

    Unless told otherwise it has no GPU, and the processor, the memory and the packages of the real one.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def gpus(self, cuda: int = 0, mps: bool = False) -> None:
        """Give it so many CUDA devices, and an Apple GPU or none."""
        # Cached functions like the real ones: torch.compile looks at what they wrap.
        self._patch.setattr(torch.cuda, "is_available", functools.cache(lambda: cuda > 0))
        self._patch.setattr(torch.cuda, "device_count", functools.cache(lambda: cuda))
        self._patch.setattr(torch.backends.mps, "is_available", functools.cache(lambda: mps))

    def real_gpus(self) -> None:
        """Give it the CUDA devices that are really there."""
        self._patch.setattr(torch.cuda, "is_available", REAL_CUDA[0])
        self._patch.setattr(torch.cuda, "device_count", REAL_CUDA[1])

    def bfloat16(self, has: bool) -> None:
        """Give each of its devices bfloat16 instructions, or none."""
        self._patch.setattr(devices, "has_bfloat16", lambda device: has)

    def processor(self, information: str, kind: str = "x86_64", system: str = "Linux") -> None:
        """Give it another processor, which Linux describes by these lines of /proc/cpuinfo."""
        self.files({devices.CPU_INFORMATION: information.splitlines()})
        self._patch.setattr(platform, "machine", lambda: kind)
        self._patch.setattr(platform, "system", lambda: system)
        self._patch.setattr(devices, "has_bfloat16", REAL_BFLOAT16[0])
        self._patch.setattr(devices, "_bfloat16", REAL_BFLOAT16[1])

    def memory(self, free: int | None) -> None:
        """Give it so many free bytes on every device; None is a machine that does not tell."""
        self._patch.setattr(devices, "available_memory", lambda device: free)

    def files(self, lines: Mapping[str, Sequence[str]]) -> None:
        """Let the system's own files (under /proc and /sys) have these lines, by path; the others are missing."""
        self._patch.setattr(devices, "_lines", lambda path: list(lines.get(path, ())))

    def lacks(self, *packages: str) -> None:
        """Uninstall packages."""
        for name in packages:
            self._patch.setitem(sys.modules, name, None)


REAL_CUDA = torch.cuda.is_available, torch.cuda.device_count
REAL_BFLOAT16 = devices.has_bfloat16, devices._bfloat16.__wrapped__  # what is asked anew each time


@pytest.fixture(scope="session", autouse=True)
def nothing_inherited(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[None]:
    """No internet, no GPU, an empty home, and nothing set by whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(PERSONAL) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        patch.setenv("PYTHONUSERBASE", site.getuserbase())  # packages may be in the real home
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("STYLETX_OFFLINE", "1")
        machine = Machine(patch)
        machine.gpus()
        if told := request.config.getoption("--bfloat16"):
            machine.bfloat16(told == "yes")
        yield


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache for each test, of which there is nothing yet."""
    folder = tmp_path_factory.mktemp("cached") / "styletx"
    monkeypatch.setenv("STYLETX_CACHE", str(folder))
    return folder


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads are allowed, from this machine, and tried again at once."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("STYLETX_OFFLINE", raising=False)
    monkeypatch.setattr(downloads, "PAUSE", 0.0)


@pytest.fixture
def server(online: None) -> Iterator[Server]:
    """A server on this machine that has a tiny network's weights."""
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine that the test sees: without a GPU, unless the test is marked gpu."""
    pretended = Machine(monkeypatch)
    if request.node.get_closest_marker("gpu"):
        pretended.real_gpus()
    return pretended


class Processes:
    """Starts programs as a terminal would, wherever the tests themselves were started, and ends them with the test."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command; options are `subprocess.Popen`'s. Its stdin is empty, its outputs are pipes."""
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        given |= options | {"env": self._environment() | options.get("env", {})}
        process = subprocess.Popen(command, preexec_fn=None if os.name == "nt" else _default_signals, **given)
        self._started.append(process)
        return process

    def finish(self, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Start a command and wait for its end; what it printed is read as UTF-8."""
        process = self.start(*command, **options)
        out, err = ((stream or b"").decode() for stream in process.communicate(timeout=300))
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def end(self) -> None:
        """End what is still running."""
        for process in self._started:
            process.kill()
            process.communicate()

    @staticmethod
    def _environment() -> dict[str, str]:
        # The styletx that is tested, in UTF-8 whatever the locale, on the processor.
        paths = [str(Path(styletx.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        fixed = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1", "CUDA_VISIBLE_DEVICES": ""}
        return os.environ | fixed | {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "passive"}


def _default_signals() -> None:
    # A job in the background of a shell, and what nohup starts, ignores signals, and so does all that it starts.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Starts programs; those that outlive the test are killed."""
    started = Processes()
    yield started
    started.end()


def possible(name: str) -> str:
    """The name of a file; the test is skipped where the file system or the locale has no such names."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, name).touch()
    except (UnicodeEncodeError, OSError) as error:
        pytest.skip(f"no file can be called {name!r} here: {error}")
    return name


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder for tests of permissions, which mean nothing to root: they run as nobody."""
    if os.name == "nt":
        pytest.skip("permissions of POSIX")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        user = os.geteuid()
        try:
            try:
                if user == 0:
                    os.seteuid(65534)
                os.scandir(folder).close()
            except OSError as error:
                pytest.skip(f"root cannot become nobody, or nobody not enter {folder}: {error}")
            yield Path(folder)
        finally:
            os.seteuid(user)


def random_vgg19(convolutions: int) -> dict[str, torch.Tensor]:
    """The first convolutions of VGG-19 under torchvision's names, random, scaled so that no layer fades (He)."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for index, inputs, outputs in [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128)][:convolutions]:
        weight = torch.randn(outputs, inputs, 3, 3, generator=generator)
        state[f"features.{index}.weight"] = weight * (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    return state


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-19 weights that reach relu2_1, half a megabyte."""
    path = tmp_path_factory.mktemp("weights") / "vgg19-relu2_1.safetensors"
    safetensors.torch.save_file(random_vgg19(3), path)
    return path


def photo() -> np.ndarray:
    """A blue sky over a darker ground, with a bright house and fine grain: uint8 [48, 64, 3]."""
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    sky = np.stack([0.35 + 0.4 * y, 0.55 + 0.3 * y, 0.95 - 0.1 * y], axis=-1)
    ground = np.stack([0.35 + 0.2 * x, 0.3 + 0.1 * y, 0.15 + 0 * x], axis=-1)
    values = np.where((y > 0.6 + 0.05 * np.sin(9 * x))[..., None], ground, sky)
    values[18:34, 36:52] = [0.9, 0.8, 0.6]
    values[24:30, 41:46] = [0.1, 0.1, 0.2]
    values += np.random.default_rng(1).normal(0, 0.02, values.shape)
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def painting() -> np.ndarray:
    """Curved strokes in a few strong colours: uint8 [48, 64, 3]."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    bands = np.sin(0.9 * np.hypot(x - 20, y - 15)) + 0.6 * np.sin(0.4 * x + 0.7 * y)
    palette = np.array([[20, 35, 90], [45, 100, 170], [235, 200, 80], [250, 240, 210]])
    values = palette[np.digitize(bands, [-0.7, 0.1, 0.8])] + np.random.default_rng(2).normal(0, 6, (HEIGHT, WIDTH, 1))
    return values.clip(0, 255).round().astype(np.uint8)


@pytest.fixture
def content_picture(tmp_path: Path) -> Path:
    """A PNG of 64×48 px, photo-like."""
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def style_picture(tmp_path: Path) -> Path:
    """A PNG of 64×48 px, painting-like."""
    Image.fromarray(painting()).save(tmp_path / "painting.png")
    return tmp_path / "painting.png"
