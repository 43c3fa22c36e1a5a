"""How the start of an engine is told: by the operator of the pods of a base, and by the plugin of each pod."""

from __future__ import annotations

import re
from typing import Final

NOT_LISTENING: Final = re.compile(r"can't be reached|[Cc]annot connect|[Cc]onnection refused")
"""What an agent says of an engine whose port nothing listens on."""


def loading_message(subject: str, said: str, since: str = "") -> str:
    """Return how a start is told that takes as long as it has to.

    That nothing listens meanwhile is no fault; anything else that is said of the engine may be one.

    Args:
        subject: what the engine is called in the sentence.
        said: what the agent says of it.
        since: when it was started; empty where that is not known.
    """
    text = f"{subject} loads the model{f' since {since}' if since else ''}, which takes minutes"
    return text if not said or NOT_LISTENING.search(said) else f"{text}; {said}"
