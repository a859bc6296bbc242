"""Bodies of requests and answers, as OpenAPI shows them. Answers' views are `control.views`.

Unknown fields are refused: a misspelt option must not be ignored.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from scsi_snap.control import pools, volumes
from scsi_snap.control.traits import TraitChoices
from scsi_snap.inventory.records import ChapRecord, Via

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


class VolumeSet(_Request):
    """What a volume's logical unit says it is. Null leaves as it is, an empty text goes back to the
    default."""

    provisioning: str | None = Field(None, description="thin or full; of a volume being made")
    deallocation: str | None = Field(None, description="any, unmap or write-same; as above")
    physical_block: str | None = Field(None, description="512 or 4096; as above")
    read_only: bool | None = None
    removable: bool | None = None
    vendor: str | None = Field(None, description="up to 8 ASCII characters")
    product: str | None = Field(None, description="up to 16 ASCII characters")
    serial: str | None = Field(None, description="up to 64 ASCII characters, of this volume alone")
    naa: str | None = Field(None, description="hexadecimal, of this volume alone")

    def traits(self) -> TraitChoices:
        return TraitChoices(**{name: getattr(self, name) for name in VolumeSet.model_fields})


class VolumeCreate(VolumeSet):
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
    groups: list[int] = Field(default_factory=list, description="portal group tags; empty: 1")
    via: Via | None = Field(
        None,
        description="lio: the kernel's target, portal: the embedded one; null: lio where it can be",
    )


class ChapSet(_Request):
    user: str
    secret: str
    mutual_user: str = ""
    mutual_secret: str = ""

    def record(self) -> ChapRecord:
        return ChapRecord(self.user, self.secret, self.mutual_user, self.mutual_secret)


class InitiatorAllow(_Request):
    chap: ChapSet | None = Field(None, description="a secret of its own; null: what it has stays")


class RedirectSet(_Request):
    address: str = Field(description="ADDRESS:PORT")
    permanent: bool = False


class PortalCreate(_Request):
    address: str = Field(description="ADDRESS:PORT")
    group: int = Field(1, description="portal group tag")
    via: Via = Field("portal", description="lio: the kernel's target listens there")


class LunMap(_Request):
    backing: str = Field(description="POOL/VOLUME, or POOL/VOLUME@SNAPSHOT (read-only)")
    initiators: list[str] = Field(
        default_factory=list, description="show it to these alone; empty: to everybody"
    )
    read_only: bool = False
    via: Via | None = Field(None, description="the target's: refused where it has another one")


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
