"""Tapes of real trainings: printed, hashed, saved, stepped through, timed."""

import pytest

import nncore as nn
from tests.clouds import blobs, small


def test_a_tape_prints_hashes_saves_and_steps(tmp_path):
    from nncore.graph import tapefile
    from nncore.train.samples import samples
    from nncore.train.steps import externals

    model = small()
    trainer = model.trainer(blobs(), epochs=1, batch=32)
    text = str(model.tape)
    assert "dense_fwd relu" in text and "adam" in text and model.tape.sha256[:12] in text and "arena" in text
    tapefile.save(tmp_path / "t.tape", [trainer.tape, trainer.tail])
    again = tapefile.load(tmp_path / "t.tape")
    assert [t.sha256 for t in again] == [trainer.tape.sha256, trainer.tail.sha256]
    assert str(again[0]) == text
    before = model.snapshot()
    data = externals(samples(blobs()))
    ops = [i.op for _, i in trainer.executor.steps(again[0], model.memory, data, n_samples=300, shuffle=True)]
    assert ops == [i.op for i in trainer.tape.instructions]
    stepped = model.weights_sha256
    model.restore(before)
    trainer.executor.run([(trainer.tape, 1)], model.memory, data, n_samples=300, shuffle=True, profile=True)
    assert model.weights_sha256 == stepped
    assert len(trainer.tape.seconds) == len(ops) and all(s >= 0 for s in trainer.tape.seconds)


def test_fused_convolutions_come_back_by_name(tmp_path):
    from nncore.graph import tapefile

    model = nn.Sequential([nn.Conv2D(3), nn.ReLU(), nn.ConvTranspose2D(2), nn.Tanh(), nn.Dense(2)]).build((4, 4, 1))
    x = nn.Tensor((2, 4, 4, 1), "f32", bytes(128))
    model.predict(x)
    tapefile.save(tmp_path / "t.tape", [model.tape])
    (again,) = tapefile.load(tmp_path / "t.tape")
    assert again.sha256 == model.tape.sha256 and [i.note for i in again.instructions][1:3] == ["relu", "tanh"]
    assert [i.dims for i in again.instructions] == [i.dims for i in model.tape.instructions]


def test_a_damaged_tape_file_is_refused(tmp_path):
    from nncore.graph import tapefile

    trainer = small().trainer(blobs(), epochs=1, batch=32)
    data = tapefile.dump([trainer.tape])
    path = tmp_path / "t.tape"
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(nn.DataError, match="t.tape: byte"):
            tapefile.load(path)


def test_a_profiled_training_shows_microseconds():
    model = small()
    model.fit(blobs(), epochs=1, batch=32, profile=True)
    assert len(model.tape.seconds) == len(model.tape.instructions)
    assert all(line.split()[-1].replace(".", "").isdigit() for line in str(model.tape).splitlines()[2:])
