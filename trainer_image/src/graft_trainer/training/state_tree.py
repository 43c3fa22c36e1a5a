"""Stores nested training state (optimizer, schedule, random generators) as safetensors and JSON.

Torch's own format for these is a pickle. Checkpoints live in a bucket, and whoever can write to it must not be able to
run code in the trainer, so no pickle ever goes in or comes out.

A container or array that JSON has no spelling for becomes an object with the single key of its kind: ``$tensor`` and
``$array`` (name of a tensor in the safetensors file), ``$tuple``, and ``$map`` (pairs, for keys that aren't strings).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

TREE_FILE = "training_state.json"
TENSORS_FILE = "training_state.safetensors"


def save_tree(tree: Any, folder: Path) -> None:
    """Write the tree as two files of ``folder``.

    Raises TypeError for a value of a kind that cannot be stored.
    """
    tensors: dict[str, torch.Tensor] = {}
    document = _encode(tree, tensors, "")
    (folder / TREE_FILE).write_text(json.dumps(document), encoding="utf-8")
    save_file(tensors, folder / TENSORS_FILE)


def load_tree(folder: Path) -> Any:
    """Read what save_tree() wrote; every tensor arrives on the CPU.

    Raises ValueError for a document that save_tree() would not have written.
    """
    document = json.loads((folder / TREE_FILE).read_text(encoding="utf-8"))
    try:
        return _decode(document, load_file(folder / TENSORS_FILE, device="cpu"))
    except KeyError as error:
        raise ValueError(f"not a stored training state: there is no tensor {error}") from error
    except TypeError as error:
        raise ValueError(f"not a stored training state: {error}") from error


def _encode(value: Any, tensors: dict[str, torch.Tensor], path: str) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case torch.Tensor():
            # A copy: safetensors refuses tensors that share memory.
            tensors[path] = value.detach().cpu().clone().contiguous()
            return {"$tensor": path}
        case np.ndarray():
            tensors[path] = torch.from_numpy(value.copy())
            return {"$array": path}
        case list():
            return [_encode(item, tensors, f"{path}/{index}") for index, item in enumerate(value)]
        case tuple():
            return {"$tuple": _encode(list(value), tensors, path)}
        case dict():
            return _encode_dict(value, tensors, path)
        case np.generic():
            return value.item()
        case _:
            raise TypeError(f"{path or 'the state'} holds a {type(value).__name__}, which cannot be stored")


def _encode_dict(value: dict[Any, Any], tensors: dict[str, torch.Tensor], path: str) -> Any:
    items = {key: _encode(item, tensors, f"{path}/{key}") for key, item in value.items()}
    if all(isinstance(key, str) and not key.startswith("$") for key in items):
        return items
    return {"$map": [[key, item] for key, item in items.items()]}


def _decode(document: Any, tensors: dict[str, torch.Tensor]) -> Any:
    match document:
        case {"$tensor": str(name), **rest} if not rest:
            return tensors[name]
        case {"$array": str(name), **rest} if not rest:
            return tensors[name].numpy()
        case {"$tuple": list(items), **rest} if not rest:
            return tuple(_decode(item, tensors) for item in items)
        case {"$map": list(pairs), **rest} if not rest:
            return {key: _decode(item, tensors) for key, item in pairs}
        case dict():
            if any(key.startswith("$") for key in document):
                raise ValueError(f"not a stored training state: unknown mark among {sorted(document)}")
            return {key: _decode(item, tensors) for key, item in document.items()}
        case list():
            return [_decode(item, tensors) for item in document]
        case _:
            return document
