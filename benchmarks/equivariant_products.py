"""Time the ways of multiplying node features: forward, and energy → forces → loss gradient (double backward).

Run as ``python benchmarks/equivariant_products.py``; prints machine, versions and commit, then one row per size.
"""

import platform
import subprocess
import time
from collections.abc import Callable

import torch
from torch import Tensor

from adiabat.equivariant.clebsch_gordan import clebsch_gordan
from adiabat.equivariant.grid_products import SphereProduct
from adiabat.equivariant.products import NodeProduct, Path, node_product_reference, product_paths

Product = Callable[[Tensor, Tensor, Tensor], Tensor]
REPEATS = 5


def nonzero_gather(l_max: int) -> Product:
    """Gather both factors for every nonzero coefficient, multiply, and add up."""
    paths = product_paths(l_max, l_max)
    rows: list[tuple[int, int, int, int]] = []
    values: list[float] = []
    for index, (l1, l2, l3) in enumerate(paths):
        coefficients = clebsch_gordan(l1, l2, l3)
        for m1, m2, m3 in coefficients.abs().gt(1e-12).nonzero().tolist():
            rows.append((index, l1 * l1 + m1, l2 * l2 + m2, l3 * l3 + m3))
            values.append(float(coefficients[m1, m2, m3]))
    path, first, second, out = torch.tensor(rows).T.contiguous()
    value = torch.tensor(values)[:, None]

    def product(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
        terms = a.index_select(1, first) * b.index_select(1, second) * (weights.index_select(0, path) * value)
        return torch.zeros_like(a).index_add(1, out, terms)

    return product


def matrix_per_channel(l_max: int) -> Product:
    """Fold the weights into one (pairs, result) matrix per channel, then one batched product over channels."""
    n = (l_max + 1) ** 2
    couplings = torch.stack([_padded(path, n) for path in product_paths(l_max, l_max)]).flatten(1)

    def product(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
        matrices = (weights.T @ couplings).view(-1, n * n, n)
        pairs = (a.permute(2, 0, 1).unsqueeze(3) * b.permute(2, 0, 1).unsqueeze(2)).flatten(2)
        return (pairs @ matrices).permute(1, 2, 0)

    return product


def _padded(path: Path, n: int) -> Tensor:
    l1, l2, l3 = path
    full = torch.zeros(n, n, n)
    full[l1 * l1 : (l1 + 1) ** 2, l2 * l2 : (l2 + 1) ** 2, l3 * l3 : (l3 + 1) ** 2] = clebsch_gordan(l1, l2, l3)
    return full


def products_of(l_max: int, channels: int) -> dict[str, Product]:
    """Every contestant, with one signature."""
    node = NodeProduct(channels, l_max)
    symmetric = NodeProduct(channels, l_max, symmetric=True)
    sphere = SphereProduct(l_max, l_max, 2)
    paths = product_paths(l_max, l_max)

    def with_weights(module: NodeProduct) -> Product:
        return lambda a, b, weights: torch.func.functional_call(
            module, {"weights": weights[None, : len(module.paths)]}, (a, b)
        )

    return {
        "outer+GEMM": with_weights(node),
        "outer+GEMM symmetric": with_weights(symmetric),
        "gather nonzeros": nonzero_gather(l_max),
        "einsum per path": lambda a, b, weights: node_product_reference(a, b, weights, paths),
        "matrix per channel": matrix_per_channel(l_max),
        "sphere grid": lambda a, b, weights: sphere(torch.cat([a, b], dim=-1)) * weights[0],
    }


def timings(product: Product, n_atoms: int, l_max: int, channels: int, *, same: bool) -> tuple[float, float]:
    """Milliseconds of a forward pass, and of forward, forces and the gradient of a force loss."""
    a = torch.randn(n_atoms, (l_max + 1) ** 2, channels, requires_grad=True)
    b = a if same else torch.randn_like(a, requires_grad=True)
    weights = torch.randn(len(product_paths(l_max, l_max)), channels, requires_grad=True)
    inputs = [a] if same else [a, b]

    def forward() -> None:
        with torch.no_grad():
            product(a, b, weights)

    def training_step() -> None:
        energy = product(a, b, weights).square().sum()
        forces = torch.autograd.grad(energy, inputs, create_graph=True)
        torch.autograd.grad(sum((force.square().sum() for force in forces), torch.zeros(())), [*inputs, weights])

    return milliseconds(forward), milliseconds(training_step)


def milliseconds(call: Callable[[], object]) -> float:
    """Least processor time of a few calls: on a shared machine, neither wall time nor a mean says much."""
    call()
    durations: list[float] = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        durations.append(time.process_time() - start)
    return min(durations) * 1e3


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, commit {commit.stdout.strip()}")
    print("one thread, float32; processor milliseconds: forward / training step, for a ⊗ b and for a ⊗ a")
    for l_max in (2, 3):
        for n_atoms, channels in ((45, 64), (189, 32), (189, 64), (512, 64)):
            print(f"\nl_max = {l_max}, {n_atoms} atoms, {channels} channels")
            for name, product in products_of(l_max, channels).items():
                cells = [
                    "{:8.2f} / {:8.2f}".format(*timings(product, n_atoms, l_max, channels, same=same))
                    for same in (False, True)
                    if same or "symmetric" not in name
                ]
                print(f"  {name:<22}" + (" " * 19 if len(cells) == 1 else "") + "  ".join(cells))


if __name__ == "__main__":
    main()
