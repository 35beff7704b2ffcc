"""The operations on what belongs to functions: one place that makes their handlers and joins them."""

from __future__ import annotations

from lambent.base.clock import Clock
from lambent.base.db import Database
from lambent.control.alias_store import AliasStore
from lambent.control.code_signing import CodeSigning, config_not_found
from lambent.control.event_invoke import EventInvokeConfigs
from lambent.control.event_sources import EventSourceMappings
from lambent.control.function_urls import FunctionUrls
from lambent.control.layer_store import LayerStore
from lambent.control.layer_tags import TaggedLayers
from lambent.control.recursion import Recursion
from lambent.control.runtime_management import RuntimeManagement
from lambent.control.store import FunctionStore
from lambent.control.tags import Owner, TaggedFunctions, TaggedResources, Tags
from lambent.control.targets import Targets
from lambent.wire.errors import AwsError
from lambent.wire.operations import Operations


def register(
    operations: Operations,
    db: Database,
    store: FunctionStore,
    aliases: AliasStore,
    layers: LayerStore,
    signing: CodeSigning,
    clock: Clock,
) -> None:
    """Make the handlers and bind them; at start, before the first request."""
    targets = Targets(aliases)
    mappings = EventSourceMappings(db, targets, clock)
    owners: dict[str, Owner] = {
        "function": TaggedFunctions(store),
        "layer": TaggedLayers(layers),
        "code-signing-config": TaggedResources(signing.configs, config_not_found),
        "event-source-mapping": TaggedResources(mappings.mappings, _no_mapping),
    }
    for handlers in (
        signing,
        mappings,
        FunctionUrls(db, store, targets, clock),
        EventInvokeConfigs(db, store, targets, clock),
        Recursion(db, store),
        RuntimeManagement(db, store),
        Tags(owners),
    ):
        handlers.register(operations)


def _no_mapping(arn: str) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Event source mapping not found: {arn}", Type="User")
