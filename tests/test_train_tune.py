"""Stages with gradients: what they move, what they keep, and that nothing but the seed decides."""

import json
from functools import cache

import numpy as np
import pytest
from networks import inside

from lutgen.numeric import Format
from lutgen.train import tune as tuned
from lutgen.train.arch import he
from lutgen.train.augment import Augment
from lutgen.train.conv import Taps
from lutgen.train.convert import LayerOptions, convert
from lutgen.train.floatnet import (
    Add,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Flatten,
    FloatNet,
    Linear,
    ReLU,
    Weighted,
    cross_entropy,
)
from lutgen.train.lookups import Digits, Vectors
from lutgen.train.lutnet import Average, Join, Wire
from lutgen.train.optim import AdamW
from lutgen.train.parallel import Workers
from lutgen.train.refit import refit, replace
from lutgen.train.tune import (
    Diverged,
    Samples,
    Snapshot,
    Tuning,
    hint_layers,
    rates,
    refresh,
    score,
    tune,
)

SOURCE = Wire(Format(8, False), 1 / 255)


def linear(rng, name, before, inputs, outputs):
    return Linear(name, [before], he(rng, (inputs, outputs)))


def perceptron(rng):
    return FloatNet(
        (8,),
        [
            linear(rng, "fc1", "input", 8, 12),
            ReLU("relu", ["fc1"]),
            linear(rng, "fc2", "relu", 12, 3),
        ],
    )


def residual(rng):
    """Three convolutions, a join, a pool."""

    def conv(name, before, inputs):
        weight = he(rng, (3, 3, inputs, 4)) * np.float32(0.7)
        return Conv2d(name, [before], weight, pad=(1, 1, 1, 1))

    return FloatNet(
        (5, 5, 1),
        [
            conv("conv1", "input", 1),
            ReLU("relu1", ["conv1"]),
            conv("conv2", "relu1", 4),
            ReLU("relu2", ["conv2"]),
            conv("conv3", "relu2", 4),
            Add("join", ["conv3", "relu1"]),
            ReLU("relu3", ["join"]),
            AvgPool2d("pool", ["relu3"], (5, 5), (5, 5)),
            Flatten("flatten", ["pool"]),
            linear(rng, "fc", "flatten", 4, 3),
        ],
    )


def blobs(rng, shape, count, spread):
    """Three classes, uint8."""
    y = rng.integers(0, 3, count)
    centres = rng.integers(40, 216, (3, *shape))
    q = centres[y] + rng.integers(-spread, spread + 1, (count, *shape))
    return Samples(np.clip(q, 0, 255), y)


def fitted(net, samples, steps):
    """Trains the float network a little."""
    x = inside(samples.q, net) * np.float32(SOURCE.scale)
    step = AdamW(net.parameters, [0.02] * len(net.parameters), [0.0] * len(net.parameters))
    for _ in range(steps):
        _, gradients, memories = net.loss(x, samples.y)
        step.step(gradients, 1.0)
        net.absorb(memories)
    return net


@cache
def start(kind):
    """A trained float network, samples and held-out samples."""
    rng = np.random.default_rng(1)
    build, shape, spread = {"mlp": (perceptron, (8,), 60), "conv": (residual, (5, 5, 1), 70)}[kind]
    samples = blobs(rng, shape, 320, spread)
    net = fitted(build(rng), samples, 40)
    return net, Samples(samples.q[:240], samples.y[:240]), Samples(samples.q[240:], samples.y[240:])


def lookups(kind, *, stage="replace", **options):
    """A lookup network that has lost some of what its float network knows."""
    origin, samples, _ = start(kind)
    own = LayerOptions(
        **{"subvec": 4, "centroids": 4, "metric": "l1", "table_bits": 4, "activation_bits": 4}
        | options
    )
    names = [layer.name for layer in origin.layers if isinstance(layer, Weighted)]
    settings = dict.fromkeys(names, own)
    if kind == "conv":
        settings["fc"] = LayerOptions(1, 4, "digit", 16)
    net = convert(origin, SOURCE, settings, activation_bits=6)
    rng = np.random.default_rng(2)
    x = inside(samples.q[:60], net)
    if stage == "replace":
        replace(net, origin, x, rng)
    else:
        refit(net, origin, x, rng, ridge=1e-3, free=stage == "free")
    return net


def run(net, kind, tuning, *, threads=1, seed=(3,), **more):
    _, samples, held = start(kind)
    with Workers(threads) as workers:
        return tune(net, samples, held, tuning, seed, workers, **more)


def held_score(net, kind):
    return score(net, start(kind)[2], Workers(1))


def arrays(net):
    return Snapshot.of(net).arrays


def same(one, other):
    assert one.keys() == other.keys()
    return all(np.array_equal(one[key], other[key]) for key in one)


# What it is for.


@pytest.mark.parametrize(
    ("stage", "optimiser", "subvec"),
    [
        ("replace", "adamw", 2),
        ("free", "adamw", 2),
        ("tied", "adamw", 1),  # tied tables of longer sub-vectors have little to gain here
        ("replace", "sgd", 2),
        ("free", "sgd", 2),
    ],
)
def test_joint_training_mends_a_poor_start(stage, optimiser, subvec):
    # A refit makes a good start of tables of more bits.
    bits = 2 if stage == "free" else 4
    net = lookups("mlp", stage=stage, subvec=subvec, centroids=2, table_bits=bits)
    before = held_score(net, "mlp")
    tuning = Tuning(12, batch=24, learning_rate=0.02, optimiser=optimiser, schedule="linear")
    state = run(net, "mlp", tuning)
    after = held_score(net, "mlp")
    assert after[1] < 0.85 * before[1]
    assert after[0] > before[0]
    assert len(state.history) == state.done == 12
    assert min(epoch.loss for epoch in state.history[-3:]) < 0.9 * state.history[0].loss
    assert (net.lookups["fc1"].residual is not None) == (stage == "free")


@pytest.mark.parametrize("metric", ["l1", "l2", "chebyshev"])
def test_every_metric_trains_on_images(metric):
    net = lookups("conv", metric=metric)
    before = held_score(net, "conv")
    run(net, "conv", Tuning(4, batch=40, learning_rate=0.005))
    assert held_score(net, "conv")[1] < 0.85 * before[1]


def test_calibrating_moves_centroids_only():
    net = lookups("mlp", stage="free", centroids=2)
    before, loss = arrays(net), held_score(net, "mlp")[1]
    run(net, "mlp", Tuning(6, batch=40, learning_rate=0.02, train=("books",)))
    after = arrays(net)
    for key, array in after.items():
        moved = not np.array_equal(array, before[key])
        assert moved == key.endswith(".books"), key
    assert held_score(net, "mlp")[1] < loss


def test_centroids_that_follow_stay_near():
    origin, samples, _ = start("mlp")
    x = inside(samples.q, origin)
    distances = []
    for follow in (0.0, 0.3):
        net = lookups("mlp", stage="free")
        moved = ("weight", "bias", "residual")
        tuning = Tuning(8, batch=24, learning_rate=0.02, follow=follow, train=moved)
        run(net, "mlp", tuning).now.restore(net)
        values = {}
        net.run(x, visit=lambda op, y, into=values: into.update({op.name: y}))
        op = net.ops[-1]
        parts = op.lookup.vectors(values[op.inputs[0]])
        gaps = np.abs(parts[:, None] - op.lookup.books[:, :, :, None])
        distances.append(float(gaps.sum(axis=2).min(axis=1).mean()))
    assert distances[1] < 0.6 * distances[0]


def test_no_epochs_change_nothing():
    net = lookups("mlp")
    before = arrays(net)
    state = run(net, "mlp", Tuning(0))
    assert state.history == []
    assert same(arrays(net), before)


def test_the_best_of_the_start_and_the_last_quarter_is_kept():
    net = lookups("mlp")
    losses = [held_score(net, "mlp")[1]]
    state = run(net, "mlp", Tuning(8, batch=40, learning_rate=0.05))
    losses += [epoch.held_loss for epoch in state.history]
    best = min(losses[0], *losses[7:])
    assert held_score(net, "mlp")[1] == pytest.approx(best)
    assert state.best_loss == pytest.approx(best)
    assert same(arrays(net), state.best.arrays)
    # A start that cannot be mended is kept as it was.
    again = run(net, "mlp", Tuning(2, batch=40, learning_rate=3.0))
    assert again.best_loss == pytest.approx(best)
    assert held_score(net, "mlp")[1] == pytest.approx(best)


def test_weights_and_free_tables_decay_alone():
    net = lookups("mlp", stage="free")
    before = arrays(net)
    tuning = Tuning(1, batch=240, learning_rate=1e-7, decay=1e6, schedule="linear")
    state = run(net, "mlp", tuning)
    for key, array in state.now.arrays.items():
        shrunk = 0.9 if key.endswith((".weight", ".residual")) else 1.0
        np.testing.assert_allclose(array, shrunk * before[key], rtol=1e-4, atol=1e-4)


def test_steps_are_measured_in_parameters():
    """One rate serves parameters of any size."""
    net = lookups("mlp", stage="free")
    sizes = rates(net, ("weight", "bias", "books", "residual"))
    assert set(sizes) == {key for key in arrays(net) if not key.endswith(".moved")}
    fc1 = net.lookups["fc1"]
    for key in ("weight", "books"):
        rms = np.sqrt(np.mean(np.square(fc1.parameters[key], dtype=np.float64)))
        assert sizes[f"fc1.{key}"] == pytest.approx(rms)
    tables = fc1.real_tables().astype(np.float64)
    assert sizes["fc1.residual"] == pytest.approx(np.sqrt(np.mean(tables**2)))
    assert sizes["fc1.bias"] == pytest.approx(fc1.out_scale * 15 / 4)
    assert sizes["fc2.bias"] == pytest.approx(net.lookups["fc2"].out_scale * 8 / 4)
    assert set(rates(net, ("books",))) == {"fc1.books", "fc2.books"}
    before = arrays(net)
    state = run(net, "mlp", Tuning(1, batch=240, learning_rate=0.01, beta=0.0))
    for key in sizes:  # Adam's first step is as long as its rate
        array = state.now.arrays[key]
        step = np.abs(array - before[key]).max()
        assert step == pytest.approx(0.01 * sizes[key], rel=0.02)


def test_scales_follow_the_parameters():
    net = lookups("mlp")
    state = run(net, "mlp", Tuning(4, batch=24, learning_rate=0.3))
    first = lookups("mlp").lookups["fc1"].table_scale
    assert state.now.scales["fc1"][1] > 1.2 * first


def test_scales_that_do_harm_are_not_taken(monkeypatch):
    net = lookups("mlp", stage="free", table_bits=3)
    samples = start("mlp")[1]
    order = np.arange(len(samples.q))
    with Workers(1) as workers:
        loss = score(net, samples, workers)[1]
        refresh(net, samples, order, len(order), workers)
        assert score(net, samples, workers)[1] <= loss

        def spoil(net, q):
            for lookup in net.lookups.values():
                lookup.table_scale *= 3

        kept = Snapshot.of(net)
        monkeypatch.setattr("lutgen.train.tune.fit_all", spoil)
        refresh(net, samples, order, len(order), workers)
        assert Snapshot.of(net).scales == kept.scales


@pytest.mark.parametrize(("first", "best"), [(9.0, 7), (0.5, 0)])
def test_good_luck_in_early_epochs_does_not_count(monkeypatch, first, best):
    told = iter([(0.5, first), *((0.5, float(n)) for n in range(1, 9))])
    monkeypatch.setattr("lutgen.train.tune.score", lambda *_: next(told))
    monkeypatch.setattr("lutgen.train.tune.refresh", lambda *_: None)
    net = lookups("mlp")
    seen = [arrays(net)]
    state = run(net, "mlp", Tuning(8, batch=120), saved=lambda state: seen.append(state.now.arrays))
    assert state.best_loss == (best or first)
    assert same(arrays(net), seen[best])


def test_steps_of_sgd_are_measured_in_gradients_too():
    net = lookups("mlp", stage="free")
    before, sizes = arrays(net), rates(net, ("weight", "residual"))
    samples = start("mlp")[1]
    raw = net.loss(inside(samples.q, net), samples.y, net.integers())[2]
    gradients = {name: net.lookups[name].finish(own) for name, own in raw.items()}
    tuning = Tuning(
        1, batch=240, learning_rate=1e-3, beta=0.0, optimiser="sgd", train=("weight", "residual")
    )
    state = run(net, "mlp", tuning)
    for key, size in sizes.items():
        name, part = key.split(".")
        moved = state.now.arrays[key] - before[key]
        want = -1e-3 * size**2 * gradients[name][part]
        np.testing.assert_allclose(moved, want, rtol=1e-3, atol=1e-5 * size)


def test_gradients_of_parts_are_those_of_the_batch():
    net = lookups("conv")
    samples = start("conv")[1]
    x, y, ints = inside(samples.q[:40], net), samples.y[:40], net.integers()
    loss, right, raw = net.loss(x, y, ints)
    whole = {f"{n}.{k}": g for n, own in raw.items() for k, g in net.lookups[n].finish(own).items()}
    parts = [np.arange(0, 16), np.arange(16, 32), np.arange(32, 40)]
    results = [tuned._scaled(net.loss(x[:, part], y[part], ints), len(part) / 40) for part in parts]
    merged = tuned._merged(net, results)
    assert merged[0] == pytest.approx(loss, rel=1e-5)
    assert merged[1] == right
    assert merged[2].keys() == whole.keys()
    for key, gradient in merged[2].items():
        np.testing.assert_allclose(gradient, whole[key], atol=1e-5 * np.abs(whole[key]).max())


def test_every_part_of_every_epoch_is_augmented_in_its_own_way():
    seen = []

    def augment(x, rng, fmt):
        assert fmt == SOURCE.format
        seen.append((len(x), float(rng.random())))
        return x

    run(lookups("conv"), "conv", Tuning(2, batch=100), augment=augment)
    assert [size for size, _ in seen] == 2 * (2 * (3 * [32] + [4]) + [32, 8])
    assert len({number for _, number in seen}) == len(seen)


# Other teachers.


def test_probabilities_at_a_temperature():
    logits = np.array([[1000.0, 0.0], [999.0, 3.0]], dtype=np.float32)
    np.testing.assert_allclose(
        tuned._softmax(logits, 2.0),
        [
            [1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(1.5))],
            [1 / (1 + np.exp(0.5)), 1 / (1 + np.exp(-1.5))],
        ],
        rtol=1e-5,
    )


def test_distillation_learns_from_the_float_network_alone():
    """Even where all classes are wrong."""
    origin, samples, held = start("mlp")
    wrong = Samples(samples.q, (samples.y + 1) % 3)
    agreed = {}
    for distill in (0.0, 1.0):
        net = lookups("mlp", centroids=16, subvec=2)
        tuning = Tuning(6, batch=24, learning_rate=0.03, distill=distill, temperature=2.0)
        state = tune(net, wrong, held, tuning, (1,), Workers(1), origin=origin)
        state.now.restore(net)
        theirs = origin.run(inside(held.q, net) * np.float32(SOURCE.scale)).argmax(axis=0)
        agreed[distill] = np.mean(net.outputs(held.q).argmax(axis=1) == theirs)
    assert agreed[1.0] > 0.85
    assert agreed[0.0] < 0.6


def test_hints_bring_joins_and_pools_nearer():
    origin, _, held = start("conv")
    x = inside(held.q, origin)
    real = {}
    origin.run(x * np.float32(SOURCE.scale), lambda layer, y: real.update({layer.name: y}))

    def off(hint):
        net = lookups("conv")
        assert hint_layers(net, origin) == {"relu3": "join", "pool": "pool"}
        tuning = Tuning(6, batch=40, learning_rate=0.005, beta=0.0, hint=hint)
        run(net, "conv", tuning, origin=origin).now.restore(net)
        values = {}
        net.run(x, visit=lambda op, y: values.update({op.name: y * op.wire.scale}))
        return np.mean((values["join"] - real["relu3"]) ** 2) / real["relu3"].var()

    assert off(3.0) < 0.8 * off(0.0)


def test_hints_where_no_relu_follows():
    rng = np.random.default_rng(0)
    origin = FloatNet(
        (4,),
        [
            linear(rng, "fc1", "input", 4, 4),
            Add("join1", ["fc1", "input"]),
            linear(rng, "fc2", "join1", 4, 4),
            Add("join2", ["fc2", "join1"]),
            ReLU("relu", ["join2"]),
        ],
    )
    net = convert(origin, SOURCE, dict.fromkeys(("fc1", "fc2"), LayerOptions(2, 4, "l1", 8)))
    assert hint_layers(net, origin) == {"join1": "join1", "relu": "join2"}


# Nothing but the seed decides.


NOISY = {
    "augment": Augment(flip=True, shift=1, noise=4.0),
}


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_threads_change_nothing(kind):
    results = []
    origin = start(kind)[0]
    for threads in (1, 2, 3):
        net = lookups(kind, stage="free" if kind == "mlp" else "replace", centroids=4)
        tuning = Tuning(2, batch=100, learning_rate=0.02, distill=0.5, follow=0.1, hint=0.1)
        if kind == "mlp":  # parts of 64 would be two
            type(net).part, part = 16, type(net).part
        try:
            state = run(net, kind, tuning, threads=threads, origin=origin, **NOISY)
        finally:
            if kind == "mlp":
                type(net).part = part
        results.append(state)
    for other in results[1:]:
        assert same(results[0].now.arrays, other.now.arrays)
        assert results[0].history == other.history
        assert results[0].now.scales == other.now.scales


def test_another_seed_gives_another_network():
    states = []
    for seed in ((3, 1), (3, 1), (3, 2)):
        states.append(run(lookups("mlp"), "mlp", Tuning(1, batch=40), seed=seed))
    assert same(states[0].now.arrays, states[1].now.arrays)
    assert not same(states[0].now.arrays, states[2].now.arrays)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_run_that_goes_on_ends_like_one_that_was_never_stopped(kind, optimiser):
    origin = start(kind)[0]
    options = {"stage": "free"} if kind == "mlp" else {"centroids": 3}
    tuning = Tuning(
        4,
        batch=60,
        learning_rate=0.05,
        decay=0.1,
        optimiser=optimiser,
        distill=0.3,
        follow=0.1,
        hint=0.1,
    )
    saved = []
    whole = run(lookups(kind, **options), kind, tuning, origin=origin, saved=saved.append, **NOISY)
    assert [state.done for state in saved] == [1, 2, 3, 4]
    for state in saved[:3] if kind == "mlp" else saved[1:2]:
        fresh = lookups(kind, **options | {"stage": "replace"})  # tables come back, free ones too
        again = run(fresh, kind, tuning, origin=origin, state=state, **NOISY)
        assert same(again.now.arrays, whole.now.arrays)
        assert same(again.best.arrays, whole.best.arrays)
        assert same(arrays(fresh), whole.best.arrays)
        assert again.now.scales == whole.now.scales
        assert again.history == whole.history
        assert again.best_loss == whole.best_loss
        assert again.steps == whole.steps
        assert same(again.moments, whole.moments)


def test_a_run_that_was_done_is_done():
    net = lookups("mlp")
    state = run(net, "mlp", Tuning(2))
    again = run(lookups("mlp"), "mlp", Tuning(2), state=state)
    assert again is state


def test_progress_is_told():
    seen = []
    run(lookups("mlp"), "mlp", Tuning(2, batch=100), progress=lambda *what: seen.append(what))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    whole = [(done, epoch) for done, epoch in seen if epoch is not None]
    assert [done for done, _ in whole] == [1, 2]
    assert len(seen) == 2 * (3 + 1)
    assert 0 <= whole[0][1].accuracy <= 1
    assert all(done < 1 for done, _ in seen[:3])


# Divergence.


@pytest.mark.parametrize(
    ("rate", "optimiser", "text"),
    [
        (1e38, "adamw", r"^Training diverged in epoch 1: the loss is nan$"),
        (1e10, "adamw", r"^Training diverged in epoch 1: parameters grow out of bounds$"),
        (1e20, "sgd", r"^Training diverged in epoch 1: "),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_runs_that_diverge_leave_the_network_as_it_was(rate, optimiser, text, threads):
    net = lookups("conv", centroids=3)
    before, outputs = arrays(net), net.outputs(start("conv")[2].q)
    tuning = Tuning(3, batch=40, learning_rate=rate, optimiser=optimiser)
    with pytest.raises(Diverged, match=text):
        run(net, "conv", tuning, threads=threads)
    assert same(arrays(net), before)
    np.testing.assert_array_equal(net.outputs(start("conv")[2].q), outputs)


def test_a_held_out_loss_that_is_no_number(monkeypatch):
    net = lookups("mlp")
    before = arrays(net)
    told = iter([(0.5, 1.0), (0.5, float("nan"))])
    monkeypatch.setattr("lutgen.train.tune.score", lambda *_: next(told))
    with pytest.raises(Diverged, match=r"^Training diverged in epoch 1: the held-out loss is nan$"):
        run(net, "mlp", Tuning(2, batch=40))
    assert same(arrays(net), before)


# Parts of it.


def test_scores_are_of_the_integers():
    net = lookups("conv")
    _, _, held = start("conv")
    outputs = net.outputs(held.q)
    logits = (outputs * net.last.wire.scale).T.astype(np.float32)
    for threads in (1, 2):
        accuracy, loss = score(net, held, Workers(threads))
        assert accuracy == np.mean(outputs.argmax(axis=1) == held.y)
        assert loss == pytest.approx(cross_entropy(logits, held.y)[0])


@pytest.mark.parametrize("stage", ["replace", "free"])
def test_snapshots_bring_everything_back(stage):
    net = lookups("conv", stage=stage)
    q = start("conv")[2].q
    for op in net.ops:
        if isinstance(op, Average):
            op.finer += 0.5
    net.form()
    kept, outputs = Snapshot.of(net), net.outputs(q)
    kept = Snapshot(kept.arrays, json.loads(json.dumps(kept.scales)))
    run(net, "conv", Tuning(1, learning_rate=0.3))
    for lookup in net.lookups.values():
        for array in lookup.parameters.values():
            array += 1
        lookup.table_scale *= 3
        lookup.shift += 1
        if isinstance(lookup, Vectors):
            lookup.moved += 1
        if isinstance(lookup, Vectors) and stage == "free":
            lookup.residual = None
        elif isinstance(lookup, Vectors):
            lookup.free()
    for op in net.ops:
        if isinstance(op, Join):
            op.shift += 1
        if isinstance(op, Average):
            op.finer += 0.5
    net.form()
    assert not np.array_equal(net.outputs(q), outputs)
    kept.restore(net)
    np.testing.assert_array_equal(net.outputs(q), outputs)
    assert same(arrays(net), kept.arrays)
    assert Snapshot.of(net).scales == kept.scales


def test_centroids_stay_in_their_format():
    net = lookups("mlp")
    run(net, "mlp", Tuning(2, batch=24, learning_rate=1.0)).now.restore(net)
    assert any((k.books == k.element.high).any() for k in net.lookups.values())
    for lookup in net.lookups.values():
        assert lookup.element.low <= lookup.books.min()
        assert lookup.books.max() <= lookup.element.high


def test_padding_stays_zero():
    net = lookups("mlp", subvec=5)
    state = run(net, "mlp", Tuning(2, batch=24, learning_rate=0.1))
    state.now.restore(net)
    fc1 = net.lookups["fc1"]
    assert (fc1.spare, net.lookups["fc2"].spare) == (2, 3)
    for lookup in net.lookups.values():
        assert not lookup.weight[:, lookup.rows.features :].any()
        assert not lookup.codebooks()[-1, :, lookup.subvec - lookup.spare :].any()


def test_workers_keep_order_and_error_state():
    with Workers(3) as workers, np.errstate(over="ignore"):
        assert workers.map(lambda n: n * n, list(range(20))) == [n * n for n in range(20)]
        results = workers.map(lambda n: np.float32(n) * np.float32(3e38), [1, 2, 3])
        assert np.isinf(results[1:]).all()
    assert 1 <= Workers().threads <= 4
    assert Workers(1).map(str, []) == []


def test_the_parts_of_these_tests_are_what_they_say():
    """Convolutions by pixel, a batch norm nowhere, exact layers where asked."""
    net = lookups("conv")
    assert all(isinstance(net.lookups[f"conv{i}"].rows, Taps) for i in (1, 2, 3))
    assert all(isinstance(k, Vectors) for k in [*net.lookups.values()][:3])
    assert isinstance(net.lookups["fc"], Digits)
    assert not any(isinstance(k, BatchNorm) for k in start("conv")[0].layers)
    assert held_score(net, "conv")[1] > 1
    assert held_score(lookups("mlp"), "mlp")[1] > 0.3
