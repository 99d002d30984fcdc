"""SymmetricMomentNet beside peers that minimise the same loss from one random start."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from benchmarks.networks_symmetric import GROUP, draw, fit
from benchmarks.registry import case
from sklearn_nnrecover.metrics import recovery_error

# Mean squared error over the spread of the outputs at which a peer's clock is stopped: its errors
# are of the order 1e-5 then, ours of rounding.
PEER_LOSS = 1e-10
MOST_RESTARTS = 40


@case(
    group=GROUP,
    figure="10 x 10, n=1e4: faster than torch L-BFGS and Adam at a relative loss of 1e-10",
    goal=0,
    requires=("torch",),
)
def against_torch(seed: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    X, y, truth = draw(seed, 10000, 10, 10, 10)
    fit(X, y)
    net, ours = fit(X, y)
    inputs, outputs = torch.from_numpy(X), torch.from_numpy(y)
    goal = PEER_LOSS * float(np.mean(y**2))
    result: dict[str, Any] = {
        "ours_error": recovery_error(net, truth),
        "ours_seconds": ours,
    }
    success = True
    for name, steps in (("lbfgs", 1000), ("adam", 3000)):
        torch.manual_seed(seed)
        W = (torch.randn(10, 10, dtype=torch.float64) / 10**0.5).requires_grad_()
        A = (torch.randn(10, 10, dtype=torch.float64) / 10**0.5).requires_grad_()
        start, reached = time.process_time(), np.inf

        def loss(W: Any = W, A: Any = A, start: float = start) -> Any:
            nonlocal reached
            value = torch.mean((torch.relu(inputs @ W) @ A - outputs) ** 2)
            if value.item() <= goal and not np.isfinite(reached):
                reached = time.process_time() - start
            return value

        if name == "lbfgs":
            optimizer = torch.optim.LBFGS(
                [W, A], max_iter=steps, tolerance_grad=1e-14, tolerance_change=1e-18,
                line_search_fn="strong_wolfe",
            )  # fmt: skip

            def closure(optimizer: Any = optimizer, loss: Any = loss) -> Any:
                optimizer.zero_grad()
                value = loss()
                value.backward()
                return value

            optimizer.step(closure)
        else:
            optimizer = torch.optim.Adam([W, A], lr=0.01)
            for _ in range(steps):
                optimizer.zero_grad()
                loss().backward()
                optimizer.step()
        result[f"{name}_seconds"] = time.process_time() - start
        result[f"{name}_seconds_to_goal"] = reached
        weights = ([W.detach().numpy(), A.detach().numpy()], [np.zeros(10), np.zeros(10)])
        result[f"{name}_error"] = recovery_error(weights, truth)
        success &= ours < reached
    return {**result, "success": bool(success)}


@case(
    group=GROUP,
    figure="10 x 10, n=1e4: faster than MLPRegressor(solver='lbfgs') at a relative loss of 1e-10",
    goal=0,
)
def against_mlp(seed: int) -> dict[str, Any]:
    """Its stopping rule ends far from the optimum: it is restarted from there until the goal."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    X, y, truth = draw(seed, 10000, 10, 10, 10)
    fit(X, y)
    net, ours = fit(X, y)
    mlp = MLPRegressor(
        hidden_layer_sizes=(10,),
        solver="lbfgs",
        alpha=0,
        max_iter=10000,
        tol=1e-15,
        warm_start=True,
        random_state=seed,
    )
    goal = PEER_LOSS * float(np.mean(y**2)) / 2
    result: dict[str, Any] = {"ours_error": recovery_error(net, truth), "ours_seconds": ours}
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for restart in range(MOST_RESTARTS + 1):
            mlp.fit(X, y)
            if restart == 0:
                result["mlp_seconds"] = time.process_time() - start
                result["mlp_error"] = recovery_error(mlp, truth)
            if mlp.loss_ <= goal:
                break
    reached = bool(mlp.loss_ <= goal)
    result["mlp_seconds_to_goal"] = time.process_time() - start if reached else np.inf
    result["mlp_error_at_goal"] = recovery_error(mlp, truth)
    return {**result, "success": ours < result["mlp_seconds_to_goal"]}
