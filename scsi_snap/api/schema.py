"""Bodies of requests and answers, as OpenAPI shows them. Answers' views are `control.views`.

Unknown fields are refused: a misspelt option must not be ignored.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from scsi_snap.control import pools, volumes

View = TypeVar("View")


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class MemberBody(_Request):
    path: str = Field(description="absolute path of a file or block device")
    size_bytes: int | None = Field(None, gt=0, description="make the file with this size")


class PoolCreate(_Request):
    name: str
    level: str = "raid5"
    strip_bytes: int = pools.STRIP_BYTES_DEFAULT
    members: list[MemberBody]


class PoolImport(_Request):
    members: list[str] = Field(default_factory=list, description="empty: those on record")
    name: str | None = None


class MemberFail(_Request):
    member: str


class VolumeCreate(_Request):
    name: str = Field(description="POOL/VOLUME")
    size_bytes: int
    block_bytes: int = 512
    chunk_bytes: int = volumes.CHUNK_BYTES_DEFAULT
    policy: str = "drop-snapshot"
    store_limit_bytes: int | None = None


class VolumeResize(_Request):
    size_bytes: int = Field(description="at least what the volume has")


class BlockRange(_Request):
    first_lba: int
    blocks: int


class SnapshotToCreate(_Request):
    name: str = Field(description="POOL/VOLUME@SNAPSHOT")
    range: BlockRange | None = None


class SnapshotsCreate(_Request):
    snapshots: list[SnapshotToCreate] = Field(description="one consistent point over all of them")


class TargetCreate(_Request):
    name: str = Field(description="iSCSI name")


class ChapSet(_Request):
    user: str
    secret: str
    mutual_user: str = ""
    mutual_secret: str = ""


class LunMap(_Request):
    backing: str = Field(description="POOL/VOLUME, or POOL/VOLUME@SNAPSHOT (read-only)")


class OutcomeBody(BaseModel, Generic[View]):
    """How a verb ended; `view` is what there is now."""

    outcome: Literal["created", "changed", "unchanged"]
    view: View


class DeletedBody(BaseModel):
    outcome: Literal["deleted"] = "deleted"
    name: str


class ErrorBody(BaseModel):
    code: str = Field(description="stable")
    message: str
    hint: str = Field(description="what to do next, or empty")
