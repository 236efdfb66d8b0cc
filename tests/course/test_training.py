"""The recipe that made the embedded nets: folding is exact, and a cut-off run resumes where it was."""

from training import train

import numpy as np
import pytest
from conftest import randomise, relative_l2
from mxnet import nd


def test_folding_batch_norm_keeps_the_logits():
    net = train.TrainableVGG16(train.VGG16_SIZES, 20)
    net.initialize()
    x = nd.random.normal(shape=(2, 3, 224, 224))
    net(x)
    randomise(net)
    assert relative_l2(net.fold()(x).asnumpy(), net(x)[1].asnumpy()) < 1e-5


def test_a_cut_off_run_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "CHECKPOINTS", tmp_path)
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(train, "RESNET50_SIZES", (4, 8, 16, 32, 64))
    monkeypatch.setitem(train.STAGES, "resnet50_v2", [train.Stage(32, 4, 3, 1e-3), train.Stage(64, 4, 3, 1e-3)])
    whole = train.train("resnet50_v2").collect_params()

    class Cut(Exception):
        pass

    real = train.batches

    def cut_after_three(plan, start):
        for count, batch in enumerate(real(plan, start)):
            if count == 3:
                raise Cut
            yield batch

    for file in tmp_path.iterdir():
        file.unlink()
    monkeypatch.setattr(train, "batches", cut_after_three)
    with pytest.raises(Cut):
        train.train("resnet50_v2")
    assert (tmp_path / "resnet50_v2.step").read_text() == "2"
    monkeypatch.setattr(train, "batches", real)
    resumed = train.train("resnet50_v2").collect_params()
    for one, two in zip(whole.values(), resumed.values()):
        assert np.allclose(one.data().asnumpy(), two.data().asnumpy(), atol=1e-5)


def test_scenes_follow_from_the_step():
    images, targets = train.batch_of_scenes(5_000_000, 64, 8)
    again, _ = train.batch_of_scenes(5_000_000, 64, 8)
    assert np.array_equal(images, again)
    assert np.allclose(targets.sum(axis=1), 1)
    assert sorted((targets > 0).sum(axis=1)) == [1, 1, 2, 2, 2, 2, 3, 3]
