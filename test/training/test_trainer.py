# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from mrmllm_ros.model.modeling_mrmllm import MrMllm
from mrmllm_ros.training import trainer
from mrmllm_ros.training.leg import Leg, UnfinishedError
from mrmllm_ros.training.trainer import Trainer, TrainingError, exact_answers, start
from mrmllm_ros.training.training_settings import DropSettings, LossSettings, TrainingSettings


@pytest.fixture
def settings(tmp_path):
    return TrainingSettings(
        output=str(tmp_path / "run"),
        steps=4,
        batch_size=2,
        perception_batch_size=0,
        learning_rate=1e-2,
        warmup_steps=0,
        device="cpu",
        log_every=1,
        evaluate_every=2,
        save_every=2,
    )


@pytest.fixture
def make_trainer(make_batches):
    def make(settings, lines=None, evaluation=(), leg=None):
        model, _, batches = make_batches(settings, lora_rank=2)
        report = (lambda line: None) if lines is None else lines.append
        return Trainer(model, batches, evaluation, settings, start(settings), report, leg)

    return make


def weights(folder):
    return load_file(f"{folder}/model.safetensors")


def test_training_lowers_the_loss_and_leaves_frozen_weights_alone(make_batches, settings):
    settings = replace(settings, steps=12, drop=DropSettings(0, 0, 0))
    model, _, batches = make_batches(settings, lora_rank=2)
    frozen = {n: w.clone() for n, w in model.named_parameters() if not w.requires_grad}
    lines = []
    evaluation = [batches[0][0], batches[1][0]]
    trainer = Trainer(model, batches, evaluation, settings, start(settings), lines.append)
    before = trainer.evaluate()
    trainer.run()
    after = trainer.evaluate()
    # The language model itself is small, random and frozen: it can hardly learn to answer.
    assert after["score"] < before["score"]
    assert after["novelty"] < before["novelty"]
    now = dict(model.named_parameters())
    assert all(torch.equal(now[name], weight) for name, weight in frozen.items())


def test_a_run_that_is_cut_and_resumed_ends_as_one_that_is_not(make_trainer, settings, tmp_path):
    whole = weights(make_trainer(replace(settings, output=str(tmp_path / "whole"))).run())
    # Cut after the second step; the number of steps also shapes the learning rate.
    cut = make_trainer(settings)
    cut._time_is_up = lambda: cut.progress.step == 2
    cut.run()
    lines = []
    resumed = make_trainer(settings, lines)
    assert lines[0].startswith("resuming after step 2")
    again = weights(resumed.run())
    assert again.keys() == whole.keys()
    for name, weight in whole.items():
        torch.testing.assert_close(again[name], weight, msg=name)


def full_state(settings):
    return torch.load(f"{settings.output}/state.pt", weights_only=True)


def train_in_legs(make_trainer, settings, steps_of_a_leg, lines):
    """Train in legs of a number of steps; returns the number of legs."""
    for legs in range(1, 10):
        clock = iter(range(0, 10**6, 60))
        leg = Leg(settings.leg_minutes, lambda clock=clock: next(clock))
        # The clock is read when a step starts and twice when it ends.
        leg.minutes = 3 * steps_of_a_leg
        try:
            make_trainer(settings, lines, leg=leg).run()
            return legs
        except UnfinishedError as reason:
            lines.append(str(reason))
    raise AssertionError("the legs do not end")


def test_legs_end_with_the_weights_and_the_optimizer_of_one_run(make_trainer, settings, tmp_path):
    settings = replace(settings, steps=5, warmup_steps=2, save_every=10, leg_minutes=1.0)
    whole = replace(settings, output=str(tmp_path / "whole"), leg_minutes=0.0)
    make_trainer(whole).run()
    lines = []
    assert train_in_legs(make_trainer, settings, 2, lines) == 3
    assert "the leg of 6 minutes is over after step 2 of 5" in lines
    expected, found = full_state(whole), full_state(settings)
    assert found["weights"].keys() == expected["weights"].keys()
    for name, weight in expected["weights"].items():
        assert torch.equal(found["weights"][name], weight), name
    for index, values in expected["optimizer"]["state"].items():
        for name, value in values.items():
            assert torch.equal(found["optimizer"]["state"][index][name], value), (index, name)
    rates = [[g["lr"] for g in s["optimizer"]["param_groups"]] for s in (expected, found)]
    assert rates[0] == rates[1]


def test_every_leg_makes_at_least_one_step_and_none_follows_the_last(make_trainer, settings):
    settings = replace(settings, steps=2, leg_minutes=1e-9)
    with pytest.raises(UnfinishedError, match="after step 1 of 2"):
        make_trainer(settings).run()
    assert make_trainer(settings).run().is_dir()


def test_a_resumed_run_decays_weights_as_it_is_told_now(make_trainer, settings):
    cut = make_trainer(settings)
    cut._time_is_up = lambda: cut.progress.step == 2
    cut.run()
    resumed = make_trainer(replace(settings, weight_decay=0.5))
    resumed.run()
    assert {group["weight_decay"] for group in resumed._optimizer.param_groups} == {0.5}


def test_a_finished_run_is_not_trained_further(make_trainer, settings):
    first = weights(make_trainer(settings).run())
    second = weights(make_trainer(settings).run())
    assert all(torch.equal(first[name], weight) for name, weight in second.items())


def test_time_that_is_used_up_ends_a_run_with_a_checkpoint(make_trainer, settings):
    trainer = make_trainer(replace(settings, steps=10**6, time_limit_minutes=1e-4))
    folder = trainer.run()
    assert 1 <= trainer.progress.step < 100
    assert weights(folder)


def test_a_checkpoint_is_loaded_by_the_model_in_half_the_bytes(make_trainer, settings, tiny):
    trainer = make_trainer(settings)
    folder = trainer.run()
    stored = weights(folder)
    assert {weight.dtype for weight in stored.values()} == {torch.float16}
    assert json.loads((folder / "config.json").read_text())["language_model"] == "tiny"
    loaded = MrMllm.from_pretrained(folder, tiny).trained_state()
    for name, weight in trainer._model.trained_state().items():
        torch.testing.assert_close(loaded[name], weight, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("content", [b"", b"no state", None])
def test_a_damaged_or_foreign_state_is_refused_and_named(content, make_trainer, settings):
    make_trainer(settings).run()
    file = f"{settings.output}/state.pt"
    if content is None:
        state = torch.load(file, weights_only=True)
        state["optimizer"]["param_groups"][0]["params"].pop()
        torch.save(state, file)
    else:
        with open(file, "wb") as stream:
            stream.write(content)
    with pytest.raises(TrainingError, match=r"state\.pt.*Set output to another"):
        make_trainer(settings)


def test_the_state_of_a_run_from_other_weights_is_refused_with_what_differs(
    make_trainer, settings
):
    make_trainer(settings).run()
    with pytest.raises(
        TrainingError, match="it was trained with checkpoint '' instead of 'embedded'"
    ):
        make_trainer(replace(settings, checkpoint="embedded"))


def test_a_loss_that_is_no_number_ends_the_run_with_the_fix(make_trainer, settings):
    trainer = make_trainer(settings)
    torch.nn.init.constant_(trainer._model.query_tokens.scale, torch.nan)
    with pytest.raises(TrainingError, match="lower learning_rate"):
        trainer.run()


def test_a_run_that_cannot_be_saved_is_one_error_with_the_reason(make_trainer, settings, tmp_path):
    trainer = make_trainer(replace(settings, output=str(tmp_path)))
    (tmp_path / "state.pt").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"cannot save step \d+ to .*\. Check the folder") as e:
        trainer.run()
    assert len(str(e.value).splitlines()) == 1


def test_progress_names_step_time_and_every_part(make_trainer, settings, make_batches):
    lines = []
    _, _, batches = make_batches(settings)
    make_trainer(settings, lines, [batches[9][0]]).run()
    steps = [line for line in lines if line.startswith("step ")]
    assert [line.split(",")[0] for line in steps] == [f"step {i} of 4" for i in (1, 2, 3, 4)]
    assert all("language" in line and "score" in line for line in steps)
    evaluations = [line for line in lines if line.startswith("evaluation after")]
    assert [line.split()[2] for line in evaluations] == ["2", "4"]
    assert all("exact_answers" in line for line in evaluations)


def test_the_learning_rate_rises_and_then_falls(make_trainer, settings):
    trainer = make_trainer(replace(settings, steps=100, warmup_steps=10))
    rates = []
    for trainer.progress.step in range(100):
        rates.append(trainer._schedule())
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[-1] < 0.06
    assert rates.index(max(rates)) in (9, 10)


def test_an_answer_counts_as_exact_only_when_every_token_is(make_batches, settings):
    model, _, batches = make_batches(settings)
    batch, _ = batches[0]
    with torch.no_grad():
        output = model(batch.frames, batch.system_prompt_ids, batch.texts, batch.logits_mask)
    right = torch.nn.functional.one_hot(batch.next_ids, output.logits.shape[-1]).float()
    assert exact_answers(replace(output, logits=right), batch) == 1.0
    count = sum(int(segment_ids.max()) + 1 for segment_ids in batch.texts.segment_ids)
    wrong = right.clone()
    wrong[0] = wrong[0].roll(1)
    assert exact_answers(replace(output, logits=wrong), batch) == pytest.approx(1 - 1 / count)


def test_every_weight_of_a_head_of_few_outputs_is_trained(make_batches, settings):
    settings = replace(settings, loss=LossSettings(score=0, label=0, box=0, attribute=0))
    outputs = settings.loss.perception_outputs
    model, _, batches = make_batches(
        settings, perception_outputs=outputs, head_uses_language_model=False
    )
    trainer = Trainer(model, batches, (), settings, start(settings), lambda line: None)
    before = {n: w.clone() for n, w in model.trained_state().items() if n.startswith("head.")}
    trainer.run()
    unchanged = [n for n, w in before.items() if torch.equal(model.trained_state()[n], w)]
    # Nothing is said of labels, so nobody's word is trusted more or less.
    assert unchanged == ["head.trust"]


def test_without_a_loss_of_texts_the_language_model_does_not_run(
    make_batches, settings, monkeypatch
):
    settings = replace(settings, loss=LossSettings(language=0.0))
    model, _, batches = make_batches(
        settings,
        perception_outputs=settings.loss.perception_outputs,
        head_uses_language_model=False,
    )
    monkeypatch.setattr(model.language_model, "forward", lambda *_, **__: pytest.fail("it ran"))
    before = {n: w.clone() for n, w in model.trained_state().items()}
    Trainer(model, batches, (), settings, start(settings), lambda line: None).run()
    changed = {n for n, w in model.trained_state().items() if not torch.equal(before[n], w)}
    assert any(name.startswith("head.") for name in changed)
    assert not any("lora" in name for name in changed)


def test_a_step_that_leaves_out_all_that_is_trained_is_passed_over(make_batches, settings):
    settings = replace(settings, steps=1, drop=DropSettings(1, 1, 0))
    model, _, batches = make_batches(settings, perception_outputs=[])
    trainer = Trainer(model, batches, (), settings, start(settings), lambda line: None)
    before = {name: weight.clone() for name, weight in model.trained_state().items()}
    trainer.run()
    assert all(torch.equal(before[name], w) for name, w in model.trained_state().items())


def test_a_run_does_not_go_on_with_a_head_that_says_other_things(make_batches, settings):
    def make(**weights):
        nothing = {"score": 0.0, "label": 0.0, "box": 0.0, "attribute": 0.0, "novelty": 0.0}
        own = replace(settings, loss=LossSettings(**{**nothing, **weights}))
        outputs = own.loss.perception_outputs
        model, _, batches = make_batches(own, perception_outputs=outputs)
        return Trainer(model, batches, (), own, start(own), lambda line: None)

    make(score=1.0).run()
    with pytest.raises(TrainingError, match="perception_outputs"):
        make(novelty=1.0).run()


@pytest.mark.parametrize(("has_amx", "chosen"), [(True, "bf16"), (False, "no")])
def test_on_a_cpu_bfloat16_is_chosen_where_it_is_fast(has_amx, chosen, settings, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    # A process has one accelerator, whose precision cannot change.
    monkeypatch.setattr(trainer, "Accelerator", lambda **options: options)
    options = start(replace(settings, device="cpu", precision="auto"))
    assert options["mixed_precision"] == chosen
