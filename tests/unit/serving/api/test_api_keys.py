"""Keys in a file: what a look at them costs."""

import time
from pathlib import Path

from graft_serving.api.api_keys import ApiKeys


def test_a_request_costs_the_same_however_many_keys_there_are(tmp_path: Path) -> None:
    def seconds_with(keys: int) -> float:
        (tmp_path / "keys").write_text("".join(f"sk-{number:040d}\n" for number in range(keys)))
        known, sent = ApiKeys(tmp_path / "keys"), {"Authorization": "Bearer sk-wrong"}
        assert known.client_of({"Authorization": f"Bearer sk-{keys - 1:040d}"}) is not None
        times = []
        for _ in range(30):
            began = time.perf_counter()
            assert known.client_of(sent) is None
            times.append(time.perf_counter() - began)
        return min(times)

    # A look at each of as many as fit into a Secret takes a hundred times as long as all the rest.
    assert seconds_with(20_000) < 10 * seconds_with(1)
