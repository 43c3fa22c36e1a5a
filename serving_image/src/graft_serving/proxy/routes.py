"""The engine's routes that clients reach, and no others. Pure."""

from typing import Final

GENERATION_PATHS: Final = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/score",
    "/v1/rerank",
    "/score",
    "/rerank",
    "/tokenize",
    "/detokenize",
)
"""Each takes a JSON object with the field `model`, and changes nothing: no route that stores, fetches or deletes is
here. `/v1/responses` can't be asked again for what it has answered, since nothing tells on which pod that was."""

SERVED: Final = ", ".join((*(f"POST {path}" for path in GENERATION_PATHS), "GET /v1/models", "GET /v1/models/{id}"))
