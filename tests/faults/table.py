"""Table of faults: name, function, expected result, trials in the tests and of `make faults`."""

from faults import Row, collecting, damage, learning, observations, running

ROWS = (
    Row("kill -9 while collecting", collecting.kill_collecting, "0 lost, 100/100", 3, 100),
    Row("kill -9, then resume collecting", collecting.kill_and_resume, "20/20", 1, 20),
    Row("the n-th write, fsync or rename fails", collecting.failing_operations, "all n", 1, 2),
    Row("disk full", collecting.full_disk, "20/20", 2, 20),
    Row("flipped bit in a shard", damage.flipped_bits, "200/200", 12, 200),
    Row("cut manifest, cut shard", damage.cut_files, "100/100", 20, 100),
    Row("malformed model folder", damage.malformed, "200/200, 0 loaded, 0 executed", 28, 200, 1.0),
    Row("pickle instead of every file", damage.pickled_files, "0 executed", 1, 8),
    Row("kill -9 while training a VAE", learning.kill_training, "20/20", 1, 20),
    Row("kill -9 while saving a checkpoint", learning.kill_checkpoint, "50/50", 5, 50),
    Row("NaN, Inf or float frames", collecting.bad_frames, "10/10", 5, 10),
    Row("KL overflow", learning.kl_overflow, "0 bad files", 2, 10),
    Row("posterior collapse", learning.collapse, "5/5", 1, 5),
    Row("beta changes KL and distortion", learning.beta_effect, "3/3 seeds", 1, 3),
    Row("environment raises, hangs or dies", running.failing_environment, "20/20", 5, 20),
    Row("terminal observation", observations.terminal_observation, "all cases <= 1e-6", 12, 120),
    Row(
        "reset recorded as a step (NEXT_STEP)",
        observations.recorded_resets,
        "0 of 10,000",
        2_000,
        10_000,
    ),
    Row("observations that do not fit", observations.observation_mismatches, "12/12", 12, 12),
    Row("colour order and value range", observations.colour_order, "all", 1, 8),
    Row("RL changes a frozen encoder", learning.frozen_encoder, "4/4", 60, 2_000),
    Row("number of workers", collecting.worker_counts, "4/4", 3, 4),
    Row("memory of 1,000,000 frames", running.memory, "1 GB and 2 GB resident", 2_000, 1_000_000),
    Row("two processes write one folder", collecting.two_writers, "10/10", 2, 10),
    Row("Ctrl-C, SIGTERM", running.signals, "20/20 within 2 s", 2, 20, 2.0),
)
