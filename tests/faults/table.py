"""The table: every row, how often each fault is injected in CI and by `make faults`."""

from faults import Row, collecting, damage, learning, running, seeing

ROWS = (
    Row("kill -9 while collecting", collecting.kill_collecting, "0 lost, 100/100", 3, 100),
    Row("kill -9, then resume collecting", collecting.kill_and_resume, "20/20", 1, 20),
    Row("the n-th write, fsync or rename fails", collecting.failing_operations, "all n", 1, 2),
    Row("disk full", collecting.full_disk, "20/20", 2, 20),
    Row("bit flip in a shard", damage.flipped_bits, "200/200", 12, 200),
    Row("torn manifest tail, truncated shard", damage.torn, "100/100", 20, 100),
    Row("malformed artifact", damage.malformed, "200/200, 0 loaded, 0 executed", 28, 200, 1.0),
    Row("pickle payload at every loader", damage.markers, "0 markers", 1, 8),
    Row("kill -9 while training a VAE", learning.kill_training, "20/20", 1, 20),
    Row("kill during a checkpoint", learning.kill_checkpoint, "50/50", 5, 50),
    Row("NaN, Inf or float frames", collecting.bad_frames, "10/10", 5, 10),
    Row("KL overflow", learning.kl_overflow, "0 bad files", 2, 10),
    Row("posterior collapse", learning.collapse, "5/5", 1, 5),
    Row("beta is wired", learning.beta_is_wired, "3/3 seeds", 1, 3),
    Row("environment raises, hangs, dies", running.failing_environment, "20/20", 5, 20),
    Row("terminal observation", seeing.terminal_observation, "all cells <= 1e-6", 12, 120),
    Row("ghost transition (NEXT_STEP)", seeing.ghosts, "0 of 10,000", 2_000, 10_000),
    Row("contract mismatch", seeing.mismatches, "12/12", 12, 12),
    Row("colour and scale canary", seeing.canary, "all", 1, 8),
    Row("RL moves a frozen encoder", learning.frozen_encoder, "4/4", 60, 2_000),
    Row("worker count", collecting.worker_counts, "4/4", 3, 4),
    Row("memory", running.memory, "1 GB and 2 GB resident", 2_000, 1_000_000),
    Row("two writers, one folder", collecting.two_writers, "10/10", 2, 10),
    Row("Ctrl-C, SIGTERM", running.signals, "20/20 within 2 s", 2, 20, 2.0),
)
