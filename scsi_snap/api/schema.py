"""Bodies of requests and answers, as OpenAPI shows them. Answers' views are `control.views`.

Unknown fields are refused: a misspelt option must not be ignored.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from scsi_snap import limits
from scsi_snap.api import fields
from scsi_snap.control import pools, volumes
from scsi_snap.control.traits import TraitChoices
from scsi_snap.errors import BY_CODE
from scsi_snap.inventory.records import ChapRecord, Via
from scsi_snap.iscsi.limits import MIN_CHAP_SECRET_BYTES

View = TypeVar("View")


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _also(schema: JsonDict) -> ConfigDict:
    """What holds between the fields of a body; checked where the verb is."""
    return ConfigDict(json_schema_extra=schema)


def _store_limit(chunk_bytes: int) -> JsonDict:
    """One chunk at least."""
    chosen: JsonDict = {"properties": {"chunk_bytes": {"const": chunk_bytes}}}
    if chunk_bytes != volumes.CHUNK_BYTES_DEFAULT:
        chosen["required"] = ["chunk_bytes"]
    return {"if": chosen, "then": {"properties": {"store_limit_bytes": {"minimum": chunk_bytes}}}}


class MemberBody(_Request):
    path: fields.MemberPath
    size_bytes: fields.MemberSize | None = None


class PoolCreate(_Request):
    name: fields.PoolPart
    level: fields.Level = "raid5"
    strip_bytes: fields.StripBytes = pools.STRIP_BYTES_DEFAULT
    members: list[MemberBody] = Field(
        json_schema_extra={
            "minItems": 1,
            "maxItems": limits.MEMBERS_PER_POOL_MAX,
            "uniqueItems": True,
        }
    )
    force: bool = Field(False, description="wipe members that hold something")


class PoolImport(_Request):
    """Members, or the name of a pool on record."""

    model_config = _also(
        {
            "anyOf": [
                {"required": ["members"], "properties": {"members": {"minItems": 1}}},
                {"required": ["name"], "properties": {"name": {"type": "string"}}},
            ]
        }
    )

    members: list[fields.MemberPath] = Field(
        default_factory=list,
        description="empty: those on record",
        json_schema_extra={"maxItems": limits.MEMBERS_PER_POOL_MAX, "uniqueItems": True},
    )
    name: fields.PoolPart | None = None
    force: bool = Field(
        False, description="take it though it is older than this controller has known it"
    )


class MemberFail(_Request):
    member: fields.MemberPath


class VolumeTraits(_Request):
    """What a volume's logical unit says it is. Null leaves as it is, an empty text goes back to the
    default."""

    provisioning: fields.Provisioning | None = None
    deallocation: fields.Deallocation | None = None
    physical_block: fields.PhysicalBlock | None = None
    read_only: bool | None = None
    removable: bool | None = None
    vendor: fields.Vendor | None = None
    product: fields.Product | None = None
    serial: fields.Serial | None = None
    naa: fields.Naa | None = None

    def traits(self) -> TraitChoices:
        return TraitChoices(**{name: getattr(self, name) for name in VolumeTraits.model_fields})


class VolumeSet(VolumeTraits):
    policy: fields.Policy | None = None
    store_limit_bytes: fields.NewStoreLimit | None = None


class VolumeCreate(VolumeTraits):
    model_config = _also(
        {
            "if": {"properties": {"block_bytes": {"const": 4096}}, "required": ["block_bytes"]},
            "then": {"properties": {"size_bytes": {"multipleOf": 4096}}},
            "allOf": [_store_limit(chunk_bytes) for chunk_bytes in fields.CHUNKS],
        }
    )

    name: fields.VolumeFullName
    size_bytes: fields.VolumeBytes
    block_bytes: fields.BlockBytes = 512
    chunk_bytes: fields.ChunkBytes = volumes.CHUNK_BYTES_DEFAULT
    policy: fields.Policy = "drop-snapshot"
    store_limit_bytes: fields.StoreLimit | None = None


class VolumeResize(_Request):
    size_bytes: fields.VolumeBytes


class BlockRange(_Request):
    first_lba: fields.Lba
    blocks: fields.BlockCount


class SnapshotToCreate(_Request):
    name: fields.SnapshotFullName
    range: BlockRange | None = None


class SnapshotsCreate(_Request):
    snapshots: list[SnapshotToCreate] = Field(
        description="one consistent point over all of them",
        json_schema_extra={
            "minItems": 1,
            "maxItems": limits.SNAPSHOTS_PER_POINT_MAX,
            "uniqueItems": True,
        },
    )


class TargetCreate(_Request):
    name: fields.TargetName
    groups: list[fields.GroupTag] = Field(
        default_factory=list,
        description="portal group tags; empty: 1",
        json_schema_extra={"maxItems": limits.GROUPS_PER_TARGET_MAX},
    )
    via: Via | None = Field(
        None,
        description="lio: the kernel's target, portal: the embedded one; null: lio where it can be",
    )


class ChapSet(_Request):
    """`mutual_user` and `mutual_secret` go together: the target proves itself too."""

    model_config = _also(
        {
            "anyOf": [
                {
                    "properties": {
                        "mutual_user": {"maxLength": 0},
                        "mutual_secret": {"maxLength": 0},
                    }
                },
                {
                    "required": ["mutual_user", "mutual_secret"],
                    "properties": {
                        "mutual_user": {"minLength": 1},
                        "mutual_secret": {"minLength": MIN_CHAP_SECRET_BYTES},
                    },
                },
            ]
        }
    )

    user: fields.ChapUser
    secret: fields.ChapSecret
    mutual_user: fields.MutualUser = ""
    mutual_secret: fields.MutualSecret = ""

    def record(self) -> ChapRecord:
        return ChapRecord(self.user, self.secret, self.mutual_user, self.mutual_secret)


class InitiatorAllow(_Request):
    chap: ChapSet | None = Field(None, description="a secret of its own; null: what it has stays")


class RedirectSet(_Request):
    address: fields.Address
    permanent: bool = False


class PortalCreate(_Request):
    address: fields.Address
    group: fields.GroupTag = 1
    via: Via = Field("portal", description="lio: the kernel's target listens there")


class LunMap(_Request):
    backing: fields.Backing
    initiators: list[fields.InitiatorName] = Field(
        default_factory=list,
        description="show it to these alone; empty: to everybody",
        json_schema_extra={"maxItems": limits.INITIATORS_PER_TARGET_MAX},
    )
    read_only: bool = False
    via: Via | None = Field(None, description="the target's: refused where it has another one")
    again: bool = Field(
        False, description="also where it is shown under another number of the target"
    )


class OutcomeBody(BaseModel, Generic[View]):
    """How a verb ended; `view` is what there is now."""

    outcome: Literal["created", "changed", "unchanged"]
    view: View


class DeletedBody(BaseModel):
    """`planned`: by `dry_run`, and nothing was done."""

    outcome: Literal["deleted", "planned"]
    name: str
    goes: list[str] = Field(description="what goes with it, in words")


class DestroyedBody(DeletedBody):
    left: list[str] = Field(description="members that are still there, and free")


class ErrorBody(BaseModel):
    code: str = Field(description="stable", json_schema_extra={"enum": [*sorted(BY_CODE)]})
    message: str = Field(description="what is wrong, for people")
    hint: str = Field(description="what to do next, or empty")
