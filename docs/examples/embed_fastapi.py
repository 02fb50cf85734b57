"""A bridge in the lifespan of a FastAPI application: HTTP at the front, the bus behind it, in one process.

BRIDGE=tcp://127.0.0.1:7777 uvicorn embed_fastapi:app
curl -d '{"number": 1, "item": "tea"}' localhost:8000/orders

Starlette has the same lifespan, and the same code runs there; run it with one worker process, as there is one bridge.
"""

import contextlib
import os
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response

import mycelium

CONTRACTS = mycelium.load(Path(__file__).with_name("contracts.yaml"))
Order, Accepted, Stock = CONTRACTS.Order, CONTRACTS.Accepted, CONTRACTS.Stock


@contextlib.asynccontextmanager
async def lifespan(app):
    """The bus lives as long as the application: it is there before the first request, and drained after the last."""
    bus = mycelium.MessageBus(CONTRACTS)
    stock = app.state.stock = {}

    @bus.on(Stock)
    def remember(message):
        stock[message.item] = message.left

    async with bus.serve(os.environ.get("BRIDGE", "tcp://127.0.0.1:7777"), name="shop front"):
        app.state.bus = bus
        yield
    await bus.close()


app = FastAPI(lifespan=lifespan)


@app.post("/orders")
async def place(request: Request):
    """Ask whoever takes orders: a client of the bridge, or a handler in this process."""
    try:
        order = CONTRACTS.from_json(Order, await request.body())
        accepted = await request.app.state.bus.request(order, Accepted, timeout=5)
    except (mycelium.JsonError, mycelium.MessageError) as error:
        raise HTTPException(422, str(error)) from error
    except (mycelium.NoResponders, TimeoutError) as error:
        raise HTTPException(503, "nobody takes orders now") from error
    return Response(CONTRACTS.to_json(accepted), media_type="application/json")


@app.get("/stock")
async def stock(request: Request):
    """What was last heard of each item."""
    return request.app.state.stock
