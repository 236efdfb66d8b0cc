"""Write the playground: a folder for the site, or one file that opens from a disk.

usage: bundle.py FOLDER | bundle.py FILE.html [NET ...]   (all nets if none are named; in one file all but VGG16)
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import cam

import graphs

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "build" / "onnxruntime-web"
RUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
TITLES = {"resnet50_v2": "ResNet50v2", "vgg16": "VGG16", "cheater": "the cheater (ResNet50v2)"}
MODULES = [
    "scene",
    "situations",
    "measures",
    "pictures",
    "drawing",
    "hand",
    "client",
    "page",
]  # each needs earlier ones only


def files(nets: list[str]) -> dict[str, bytes]:
    """Every file of the playground by its name."""
    found = {path.name: path.read_bytes() for path in HERE.iterdir() if path.suffix in (".html", ".css", ".js")}
    found |= runtime()
    found |= {f"cutouts/{path.name}": path.read_bytes() for path in sorted(cam.scenes.CUTOUTS.glob("*.png"))}
    found["licences/cutouts-ORIGIN.md"] = (cam.scenes.CUTOUTS / "ORIGIN.md").read_bytes()
    about: dict = {"cutouts": [path.name for path in sorted(cam.scenes.CUTOUTS.glob("*.png"))], "nets": {}}
    for name, net in graphs.embedded().items():
        if name not in nets:
            continue
        base = "resnet50_v2" if name == "cheater" else name
        location = f"{base}.bin"
        written = graphs.write(net, location)
        about["nets"][name] = {
            "title": TITLES[name], "labels": cam.scenes.LABELS, "relus": written.relus, "layers": written.layers,
            "forward": f"{base}.onnx", "full": f"{base}_full.onnx", "weights": location, "location": location,
        }  # fmt: skip
        new = {f"{base}.onnx": written.forward, f"{base}_full.onnx": written.full, location: written.weights}
        if name == "cheater" and location in found:  # the same net but for its last layer
            new[location], patch, offset = found[location], *difference(found[location], written.weights)
            new["cheater.bin"] = patch
            about["nets"][name] |= {"patch": "cheater.bin", "offset": offset}
            if any(found[one] != new[one] for one in new if one.endswith(".onnx")):
                raise ValueError("the cheater's graph is not ResNet50v2's")
        found |= new
    found["playground.json"] = json.dumps(about, separators=(",", ":")).encode()
    return found


def difference(old: bytes, new: bytes) -> tuple[bytes, int]:
    """The bytes of `new` from the first place on where two arrays of one length differ, and that place."""
    if len(old) != len(new):
        raise ValueError("the cheater has other weights than ResNet50v2's in number")
    start = next(at for at, (a, b) in enumerate(zip(old, new)) if a != b)
    return new[start:], start


class RuntimeMissingError(Exception):
    """ONNX Runtime Web is not in build/, and npm cannot bring it."""


def runtime() -> dict[str, bytes]:
    """ONNX Runtime Web from the npm registry, or from build/; its licences, which the package lacks, from PyPI's."""
    CACHE.mkdir(parents=True, exist_ok=True)
    packed = CACHE / f"{RUNTIME.replace('@', '-')}.tgz"
    if not packed.exists():
        if shutil.which("npm") is None:
            raise RuntimeMissingError("npm is missing, which brings ONNX Runtime Web (Debian: apt install npm)")
        brought = subprocess.run(
            ["npm", "pack", "--silent", RUNTIME, "--pack-destination", CACHE], stdout=subprocess.DEVNULL
        )
        if brought.returncode:
            raise RuntimeMissingError(f"npm did not bring {RUNTIME}, see above")
    if hashlib.sha256(packed.read_bytes()).hexdigest() != RUNTIME_SHA256:
        raise ValueError(f"{packed} is not the {RUNTIME} that this page was tested with: remove it and try again")
    with tarfile.open(packed) as archive:
        module, wasm = (archive.extractfile(f"package/dist/{name}").read()
                        for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"))  # fmt: skip
    found = {
        "vendor/ort.mjs": re.sub(rb"\n//# sourceMappingURL=.*", b"", module),
        "vendor/ort.wasm.gz.bin": gzip.compress(wasm, mtime=0),  # .bin, so that no server says Content-Encoding
    }
    for path in importlib.metadata.files("onnxruntime") or ():
        if (
            path.name in ("LICENSE", "ThirdPartyNotices.txt")
            and len(path.parts) == 2
            and path.parts[0] == "onnxruntime"
        ):
            found[f"licences/onnxruntime-{path.stem}.txt"] = path.locate().read_bytes()
    return found


def one_file(found: dict[str, bytes]) -> str:
    """The playground as one page: data in base64, modules by addresses that the page makes itself."""
    page = found["index.html"].decode()
    inside = [name for name in found if name.endswith((".bin", ".onnx", ".png", "playground.json"))]
    data = "".join(f'<script type="text/plain" id="file:{name}">{_packed(found[name])}</script>\n' for name in inside)
    sources = {f"./{name}.js": found[f"{name}.js"].decode() for name in MODULES}
    worker = {"./net.js": _with_runtime(found["net.js"].decode(), found["vendor/ort.mjs"].decode())}
    script = LOADER.replace("SOURCES", _script(worker | sources))
    style = found["style.css"].decode()
    policy = (
        f"default-src 'none'; script-src {_hash(script)} blob: 'wasm-unsafe-eval'; style-src {_hash(style)}; "
        "img-src data:; connect-src blob: data:; worker-src blob:; base-uri 'none'; form-action 'none'"
    )
    page = re.sub(r"default-src [^\"]*", lambda _: policy, page, count=1)
    page = page.replace('<link rel="stylesheet" href="style.css">', f"<style>{style}</style>")
    texts = {name: found[name].decode() for name in found if name.startswith("licences/")}
    notes = "".join(
        f"<details><summary>{name}</summary><pre>{_text(text)}</pre></details>" for name, text in texts.items()
    )
    page = re.sub(r'<p id="licences">.*?</p>', lambda _: notes, page, flags=re.DOTALL)
    return page.replace(
        '<script type="module" src="page.js"></script>', f'{data}<script type="module">{script}</script>'
    )


LOADER = """
const addresses = new Map();
for (const [name, source] of Object.entries(SOURCES)) {
  let text = source;
  for (const [known, address] of addresses) text = text.replaceAll(`from "${known}"`, `from "${address}"`);
  addresses.set(name, URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
}
globalThis.workerAddress = addresses.get("./net.js");
await import(addresses.get("./page.js"));
"""


def _with_runtime(worker: str, runtime: str) -> str:
    """The worker and what it imports as one classic script: of a page from a disk, browsers start no module workers."""
    body, _, exported = runtime.replace("import.meta.url", "location.href").rpartition("export{")
    pairs = (one.split(" as ") for one in exported.partition("}")[0].split(","))
    members = ",".join(f"{names[-1]}:{names[0]}" for names in pairs if names[-1] != "default")
    rest = re.sub(r"^import .*$", "", worker, flags=re.MULTILINE)
    return f"{body}const runtime = {{{members}}};\n{{ const ort = runtime;\n{rest}}}\n"


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _script(values: dict[str, str]) -> str:
    return json.dumps(values).replace("<", "\\u003c")  # else </script> within would end it


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def main(target: str, *nets: str) -> None:
    """Write the folder or the file, and say how large it is.

    Raises
    ------
    RuntimeMissingError
        If the runtime for browsers can be had from nowhere.
    """
    path, as_file = Path(target), target.endswith(".html")
    found = files(list(nets) or [name for name in TITLES if not (as_file and name == "vgg16")])
    contents = {path: one_file(found).encode()} if as_file else {path / name: one for name, one in found.items()}
    for place, content in contents.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    print(f"{path}: {sum(map(len, contents.values())) / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RuntimeMissingError as error:
        sys.exit(f"The playground was not built: {error}.")
