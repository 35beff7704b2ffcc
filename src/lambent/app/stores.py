"""What the control plane knows of functions, layers and aliases, loaded, and what follows from what."""

from __future__ import annotations

from dataclasses import dataclass

from lambent.app.state import State
from lambent.base.clock import Clock
from lambent.control.alias_store import AliasStore
from lambent.control.concurrency_store import ConcurrencyStore
from lambent.control.layer_store import LayerStore
from lambent.control.store import FunctionStore


@dataclass(frozen=True, slots=True)
class Stores:
    functions: FunctionStore
    layers: LayerStore
    aliases: AliasStore
    concurrency: ConcurrencyStore

    def code_size(self, account: str, region: str) -> int:
        """Bytes of code that an account stores in a region."""
        return self.functions.code_size(account, region) + self.layers.code_size(account, region)


async def load(state: State, clock: Clock) -> Stores:
    stores = Stores(
        FunctionStore(state.db, state.jobs, clock),
        LayerStore(state.db),
        AliasStore(state.db, clock),
        ConcurrencyStore(state.db, state.jobs, clock),
    )
    await stores.functions.load()
    await stores.layers.load()
    await stores.aliases.load()
    await stores.concurrency.load()
    stores.functions.on_remove(stores.aliases.let_go)
    stores.functions.on_remove(stores.concurrency.let_go)
    stores.aliases.on_move(stores.concurrency.alias_moved)
    return stores
