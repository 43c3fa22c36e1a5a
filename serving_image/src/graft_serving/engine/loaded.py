"""Which adapters an engine has loaded, as its lists and our own changes tell together. No I/O.

A list that was asked for while a name was being loaded or unloaded tells nothing of that name: it may be from before
the change or from after it. It is as good as any other for all the other names.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping


class LoadedAdapters:
    """Name → path of the engine's adapters. For one event loop."""

    def __init__(self, by_name: Mapping[str, str] | None = None) -> None:
        """Begin with what is known to be loaded."""
        self.by_name: Mapping[str, str] = by_name or {}
        self._under_way: Counter[str] = Counter()
        self._touched: set[str] = set()
        """Names whose change has been under way at any time since the latest list was asked for."""
        self._unsure: set[str] = set()
        """Names whose last change ended with an error: the engine may have made it all the same, or make it yet."""

    @contextlib.contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """The name is loaded or unloaded until the block ends; with an error, nobody knows whether it was."""
        self._under_way[name] += 1
        self._touched.add(name)
        try:
            yield
        except BaseException:
            self._unsure.add(name)
            raise
        else:
            self._unsure.discard(name)
        finally:
            # In place: a name that has no change under way any more is not kept.
            self._under_way -= Counter((name,))

    def note_loaded(self, name: str, path: str) -> None:
        """The engine has said that it has loaded this."""
        self.by_name = {**self.by_name, name: path}

    def note_unloaded(self, name: str) -> None:
        """The engine has said that it doesn't have this any more."""
        self.by_name = {known: path for known, path in self.by_name.items() if known != name}

    def begin_list(self) -> None:
        """The engine is about to be asked for its list."""
        self._touched = set(self._under_way)

    def has_lost_any(self, listed: Mapping[str, str]) -> bool:
        """Whether the list lacks what nobody has unloaded. Engines never forget by themselves: it is a new process."""
        return not self.by_name.keys() - self._touched - self._unsure <= listed.keys()

    def take(self, listed: Mapping[str, str], *, of_new_process: bool) -> bool:
        """Take over what the list tells; whether anything is loaded otherwise than was known.

        What was being changed in a former process is in the new one only if its list says so, or if it was changed
        there since.
        """
        own = self._touched - self._under_way.keys() - self._unsure if of_new_process else self._touched
        told = {name: path for name, path in listed.items() if name not in own}
        told |= {name: path for name, path in self.by_name.items() if name in own}
        self._unsure &= listed.keys() | self._touched
        changed, self.by_name = told != self.by_name, told
        return changed
