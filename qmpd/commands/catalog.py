"""Commands that ask the catalog, limit what may be used, and delete what is old.

Thin: each is one call of a function of the catalog, and what it returns under the schema's names. Database code is
imported when the first of them is used with a catalog.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api import models
    from qmpd.catalog.backups import BackupRecord
    from qmpd.catalog.catalog import Catalog
    from qmpd.catalog.jobs import JobRecord

    Filter = models.CatalogPage

ALL = "*"
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

# Members whose names in the schema are not those of the records' fields; None leaves a field out.
_JOB = {"service_id": "service", "group_uuid": "group", "created_us": "created", "ended_us": "ended"}
_GROUP = {
    "service_id": "service",
    "mode": "completion-mode",
    "request_id": "request",
    "session_id": "session",
    "created_us": "created",
    "settled_us": "settled",
}
_BACKUP = {
    "service_id": "service",
    "job_row": "job",
    "group_uuid": "group",
    "bitmap_uuid": None,
    "bitmap_name": "bitmap",
    "parent_id": "parent",
    "chain_id": "chain",
    "target_node": "target",
    "target_filename": "filename",
    "started_us": "started",
    "ended_us": "ended",
}
_VOLUME = {"service_id": "service", "position": None, "created_us": "created", "deleted_us": "deleted"}
_SERVICE = {
    "started_us": "started",
    "heartbeat_us": "heartbeat",
    "stopped_us": "stopped",
    "clean": None,
    "reserved_seq": None,
}


class CatalogCommands:
    """catalog-query-*, catalog-set-quota and catalog-prune.

    :param catalog: the daemon's catalog, None as long as it has none.
    :param limits_changed: is told when a limit has been set.
    """

    def __init__(
        self,
        catalog: Callable[[], Catalog | None],
        limits_changed: Callable[[RequestContext], Awaitable[None]] | None = None,
    ) -> None:
        self._catalog = catalog
        self._limits_changed = limits_changed

    @command("catalog-query-jobs")
    async def query_jobs(self, ctx: RequestContext, args: models.CatalogJobFilter) -> list[dict[str, object]]:
        """Jobs, newest first."""
        self._attach(ctx)
        from qmpd.catalog import jobs

        found = await jobs.listed(
            ctx,
            service_id=_service(ctx, args),
            job_id=args.job_id,
            type=_text(args.type),
            outcome=_text(args.outcome),
            group_uuid=args.group,
            since_us=args.since,
            until_us=args.until,
            after=args.after,
            limit=_limit(args.limit),
        )
        return [_job(job) for job in found]

    @command("catalog-query-groups")
    async def query_groups(self, ctx: RequestContext, args: models.CatalogGroupFilter) -> list[dict[str, object]]:
        """Transactions that started jobs, newest first, with their jobs."""
        self._attach(ctx)
        from qmpd.catalog import groups, jobs
        from qmpd.catalog.facade import reader

        async with reader.using(ctx):
            found = await groups.listed(
                ctx,
                service_id=_service(ctx, args),
                uuid=args.uuid,
                outcome=_text(args.outcome),
                since_us=args.since,
                until_us=args.until,
                after=args.after,
                limit=_limit(args.limit),
            )
            members = await jobs.of_groups(ctx, [group.uuid for group in found])
        return [_members(group, _GROUP) | {"jobs": [_job(job) for job in members[group.uuid]]} for group in found]

    @command("catalog-query-backups")
    async def query_backups(self, ctx: RequestContext, args: models.CatalogBackupFilter) -> list[dict[str, object]]:
        """Backups, newest first."""
        self._attach(ctx)
        from qmpd.catalog import backups
        from qmpd.catalog.facade import reader

        async with reader.using(ctx):
            found = await backups.listed(
                ctx,
                service_id=_service(ctx, args),
                node_name=args.node_name,
                chain_id=args.chain,
                group_uuid=args.group,
                bitmap_name=args.bitmap,
                outcome=_text(args.outcome),
                since_us=args.since,
                until_us=args.until,
                after=args.after,
                limit=_limit(args.limit),
            )
            return await _backups(ctx, found)

    @command("catalog-query-backup-chain")
    async def query_backup_chain(
        self, ctx: RequestContext, args: models.QObjCatalogQueryBackupChainArg
    ) -> list[dict[str, object]]:
        """What is needed to restore a backup, in the order in which to apply it.

        :raises NotFound: there is no such backup.
        """
        self._attach(ctx)
        from qmpd.catalog import backups
        from qmpd.catalog.facade import reader

        async with reader.using(ctx):
            return await _backups(ctx, await backups.chain(ctx, args.backup))

    @command("catalog-query-volumes")
    async def query_volumes(self, ctx: RequestContext, args: models.CatalogVolumeFilter) -> list[dict[str, object]]:
        """Nodes that are there, or those that were, newest first."""
        self._attach(ctx)
        from qmpd.catalog import volumes
        from qmpd.catalog.facade import reader

        async with reader.using(ctx):
            found = await volumes.listed(
                ctx,
                service_id=_service(ctx, args),
                node_name=args.node_name,
                deleted=bool(args.deleted),
                after=args.after,
                limit=_limit(args.limit),
            )
            notes = await volumes.volume_metadata(ctx, [volume.id for volume in found])
        return [_members(volume, _VOLUME) | _metadata(notes.get(volume.id)) for volume in found]

    @command("catalog-query-events")
    async def query_events(self, ctx: RequestContext, args: models.CatalogEventFilter) -> list[dict[str, object]]:
        """Events that were sent, newest first.

        :raises GenericError: all daemons' events are asked for.
        """
        self._attach(ctx)
        from qmpd.catalog import events

        service_id = _service(ctx, args)
        if service_id is None:
            raise GenericError("'service': events are listed for one daemon at a time, each counts its own")
        found = await events.listed(
            ctx,
            service_id=service_id,
            name=args.event,
            since_us=args.since,
            until_us=args.until,
            after=args.after,
            limit=_limit(args.limit),
        )
        return [
            _members(event, {"time_us": "time", "name": "event", "data": "data" if event.data else None})
            for event in found
        ]

    @command("catalog-query-services")
    async def query_services(
        self, ctx: RequestContext, args: models.QObjCatalogQueryServicesArg
    ) -> list[dict[str, object]]:
        """The daemons that use the database, by id."""
        catalog = self._attach(ctx)
        from qmpd.catalog import services

        now = int(ctx.time * 1_000_000)
        found = await services.listed(
            ctx, alive=args.alive, at_us=now, after=args.after, limit=_limit(args.limit)
        )
        return [
            _members(service, _SERVICE)
            | {"self": service.id == catalog.service_id, "alive": service.is_alive(now)}
            for service in found
        ]

    @command("catalog-query-quotas")
    async def query_quotas(
        self, ctx: RequestContext, args: models.QObjCatalogQueryQuotasArg
    ) -> list[dict[str, object]]:
        """Limits and what is used of them."""
        self._attach(ctx)
        from qmpd.catalog import quotas

        found: list[dict[str, object]] = [
            _members(quota, {}) | {"scope": "all" if quota.scope == quotas.ALL else "daemon"}
            for quota in await quotas.listed(ctx)
        ]
        wanted = {"resource": _text(args.resource), "scope": _text(args.scope)}
        return [
            quota for quota in found if all(value in (None, quota[member]) for member, value in wanted.items())
        ]

    @command("catalog-set-quota")
    async def set_quota(self, ctx: RequestContext, args: models.QObjCatalogSetQuotaArg) -> None:
        """Set a limit.

        :raises GenericError: it is negative, and not -1.
        """
        self._attach(ctx)
        from qmpd.catalog import quotas

        if args.limit < quotas.UNLIMITED:
            raise GenericError(f"'limit' must be -1, for none, or at least 0; not {args.limit}")
        scope = quotas.ALL if args.scope == "all" else None
        await quotas.set_limit(ctx, quotas.Resource(args.resource.value), args.limit, scope=scope)
        if self._limits_changed is not None:
            await self._limits_changed(ctx)

    @command("catalog-prune")
    async def prune(self, ctx: RequestContext, args: models.QObjCatalogPruneArg) -> dict[str, object]:
        """Delete what is old; answers with how many of each kind.

        :raises GenericError: neither age nor count is given, or one of them is negative.
        """
        self._attach(ctx)
        from qmpd.catalog import retention

        for name, value in (("older-than", args.older_than), ("keep", args.keep)):
            if value is not None and value < 0:
                raise GenericError(f"{name!r} must be at least 0, not {value}")
        older_than_us = None if args.older_than is None else max(int(ctx.time) - args.older_than, 0) * 1_000_000
        return dataclasses.asdict(await retention.prune(ctx, older_than_us=older_than_us, keep=args.keep))

    def _attach(self, ctx: RequestContext) -> Catalog:
        """The catalog, which `ctx` knows from now on.

        :raises NoCatalog: there is none.
        """
        catalog = self._catalog()
        if catalog is None:
            from qmpd.catalog.errors import NoCatalog

            raise NoCatalog
        ctx.catalog = catalog
        return catalog


def _service(ctx: RequestContext, args: Filter) -> str | None:
    """The daemon whose entries are wanted; None for all."""
    assert ctx.catalog is not None
    if args.service is None:
        return ctx.catalog.service_id
    return None if args.service == ALL else args.service


def _limit(limit: int | None) -> int:
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise GenericError(f"'limit' must be from 1 to {MAX_LIMIT}, not {limit}")
    return limit


def _text(value: Any) -> str | None:
    """The text of an enum's value."""
    return None if value is None else str(value.value)


def _members(record: Any, names: Mapping[str, str | None]) -> dict[str, object]:
    """What `record` has, under the schema's names."""
    found: dict[str, object] = {}
    for field in dataclasses.fields(record):
        name = names.get(field.name, field.name.replace("_", "-"))
        value = getattr(record, field.name)
        if name is not None and value is not None:
            found[name] = value
    return found


def _job(job: JobRecord) -> dict[str, object]:
    return _members(job, _JOB)


async def _backups(ctx: RequestContext, found: Iterable[BackupRecord]) -> list[dict[str, object]]:
    """Backups with what was noted down for them."""
    from qmpd.catalog import backups

    records = list(found)
    notes = await backups.backup_metadata(ctx, [backup.id for backup in records])
    return [_members(backup, _BACKUP) | _metadata(notes.get(backup.id)) for backup in records]


def _metadata(values: Mapping[str, str] | None) -> dict[str, object]:
    if not values:
        return {}
    return {"metadata": [{"key": key, "value": value} for key, value in sorted(values.items())]}
