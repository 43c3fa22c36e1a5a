"""The agent's settings: read once from the environment, then never changed."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from graft_serving.api.api_keys import keys_in
from graft_serving.peers.tokens import PeerGroup

PREFIX = "GRAFT_"


def _separated(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


class Settings(BaseModel):
    """One pod's agent. Field `adapters_dir` is read from `GRAFT_ADAPTERS_DIR`, and so on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    namespace: Annotated[str, Field(min_length=1)]
    """The namespace of the base and its adapters."""
    pod: Annotated[str, Field(min_length=1)]
    """This pod's name; it goes into the agent's state."""
    wanted_configmap: str | None = None
    """The ConfigMap that holds the wanted set; watched through the API."""
    wanted_file: Path | None = None
    """A file that holds the wanted set, for a pod without an API to ask. Excludes `wanted_configmap`."""
    engine_url: str = "http://127.0.0.1:8001"
    base_dir: Path = Path("/base")
    adapters_dir: Path = Path("/adapters")
    """Shared with the engine, at the same path in both containers."""
    merged_manifest: Path | None = None
    """The manifest of the version that is merged into the engine's model. The engine serves it under the version's own
    name, and the pod has no other versions, no base, and nothing to load."""
    max_rank: Annotated[int, Field(ge=1)] = 16
    """The engine's `--max-lora-rank`; 16 is vLLM's default."""
    loads_at_once: Annotated[int, Field(ge=1, le=64)] = 4
    """Loads that the engine is asked for at the same time. Each takes some of the time in which it would generate."""
    cache_bytes: Annotated[int, Field(ge=0)] = 5 * 1024**3
    """What versions may take on the disk. Those that are wanted stay even above it; of the others, kept for a
    rollback without a download, the least recently used go first. 5 GiB hold thirty of 160 MB (rank 16 on all layers
    of a model of 8 billion parameters)."""
    api_key_file: Path | None = None
    """A file with the API keys of clients, one a line. Without such a file every client may ask."""
    peer_audience: str | None = None
    """Audience of the tokens that the pods of a base show one another. Without it a pod takes no requests of others on
    its `peer_port`."""
    peer_account: str | None = None
    """The ServiceAccount whose tokens they are."""
    peer_token_file: Path | None = None
    """This pod's own such token. The kubelet replaces it."""
    registry_keys_dir: Path | None = None
    """A folder with the registry's keys, each in a file that is named like its environment variable
    (`AWS_ACCESS_KEY_ID` …). They are read again when they change; where there are none, the environment counts."""
    listen: str | None = None
    """The address to listen on; all of the pod's, of either family, when empty."""
    api_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    peer_port: Annotated[int, Field(ge=0, le=65535)] = 8002
    """Where other pods of the base ask for adapters that they don't hold. No Service has it: what comes in here has
    been sent on once, and is not sent on again."""
    admin_port: Annotated[int, Field(ge=0, le=65535)] = 8090
    peer_service_url: str | None = None
    """The Service that fronts all pods of the base: it answers what this pod can't answer right now."""
    drain_seconds: Annotated[float, Field(ge=0)] = 5.0
    """How long the agent goes on serving after SIGTERM: until nobody sends requests to this endpoint any more."""
    shutdown_seconds: Annotated[float, Field(ge=0)] = 105.0
    """How long requests under way may then take to finish. Kubernetes gives the pod 120 seconds for all of its end."""
    load_wait_seconds: Annotated[float, Field(ge=0, le=300)] = 10.0
    """How long a request for an adapter that is loaded on demand waits for it, before its client is told to come
    again."""
    max_body_bytes: Annotated[int, Field(ge=1)] = 4 * 1024 * 1024
    """Of one request: a million tokens of text. Requests with images in them may need more."""
    body_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long a request's body may take to arrive."""
    max_bodies_bytes: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024
    """Of all requests together that have got nothing of their answer yet. They are in memory, twice at most."""
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_separated)] = ()
    """Origins, separated by commas, whose pages may ask from a browser (`https://chat.example.com`); `*` for all."""
    request_timeout_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """Upper bound of one proxied request, its client's reading included; it also bounds how long a version can
    drain."""
    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """Where spans of requests are sent to, by OTLP over HTTP: the URL before `/v1/traces`. Without it none are made."""
    trace_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Part of the traces that begin here which is kept."""
    engine_poll_seconds: Annotated[float, Field(gt=0)] = 1.0
    engine_load_timeout_seconds: Annotated[float, Field(gt=0)] = 120.0
    engine_generate_timeout_seconds: Annotated[float, Field(gt=0)] = 120.0
    """Generous, because an engine may compile at its first generation."""
    retry_seconds: Annotated[float, Field(gt=0)] = 1.0
    """The first pause after a failure that may pass; it doubles up to a minute."""

    @model_validator(mode="after")
    def _has_one_wanted_source(self) -> Self:
        if (self.wanted_configmap is None) == (self.wanted_file is None):
            raise ValueError("set exactly one of GRAFT_WANTED_CONFIGMAP and GRAFT_WANTED_FILE")
        return self

    @model_validator(mode="after")
    def _is_a_peer_or_none(self) -> Self:
        told = (self.peer_audience, self.peer_account, self.peer_token_file)
        if any(told) and not all(told):
            raise ValueError("set GRAFT_PEER_AUDIENCE, GRAFT_PEER_ACCOUNT and GRAFT_PEER_TOKEN_FILE, or none of them")
        return self

    @field_validator("api_key_file")
    @classmethod
    def _holds_a_key(cls, path: Path | None) -> Path | None:
        if path is not None:
            try:
                keys = keys_in(path.read_bytes())
            except OSError as error:
                raise ValueError(f"{path} can't be read: {error.strerror}; mount a Secret that holds it") from error
            if not keys:
                raise ValueError(f"{path} holds no key; write one a line")
        return path

    @property
    def peer_group(self) -> PeerGroup | None:
        """The pods that this one takes requests of; None if there are none."""
        if self.peer_audience is None:
            return None
        subject = f"system:serviceaccount:{self.namespace}:{self.peer_account}"
        return PeerGroup(audience=self.peer_audience, subject=subject)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read `GRAFT_<FIELD>` for every field; an empty value counts as unset.

        Raises:
            ValueError: a value is missing or wrong; the message names the variable.
        """
        values = {name: environment.get(PREFIX + name.upper(), "") for name in cls.model_fields}
        try:
            return cls.model_validate({name: value for name, value in values.items() if value})
        except ValidationError as error:
            problems = [
                ": ".join((*(PREFIX + str(field).upper() for field in problem["loc"]), problem["msg"]))
                for problem in error.errors()
            ]
            raise ValueError("; ".join(problems)) from error
