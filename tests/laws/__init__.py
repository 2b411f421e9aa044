"""The laws that every cell obeys, and every cell made from cells.

`cases.CELLS` is the table of the cells; a new one is one more row there, which costs at
most 5 CPU seconds of the quick suite: ``python -m tests.laws lstm`` tells. What makes it
cheap: each program of a cell is traced once (`programs`), and evaluated in NumPy
(`numpy_jaxpr`) for all laws; one of them is compiled. What the engines do alike for all
cells is shown by some, and by the others in `make slow` and `make nightly`.

Inputs and weights are random, distinct and never constant over time; biases are never
zero. float64 unless said. "Equals" is ``max|a-b| <= 1e-12 * max(1, max|b|)``; bits are
compared only where a law says bit, on one program and shape.
"""

from typing import NamedTuple


class Law(NamedTuple):
    """Fields:
    number, name: of the law.
    says: what must hold.
    tests: where it is tested, the main test first: ``folder/file.py::function``.
    """

    number: int
    name: str
    says: str
    tests: tuple[str, ...]


def law(number: int, name: str, says: str, tests: str) -> Law:
    return Law(number, name, " ".join(says.split()), tuple(tests.split()))


LAWS = (
    law(
        1,
        "step",
        """`unroll` equals a Python loop of `step`, in value and in every gradient
        (params, carry, xs), by every engine.""",
        """laws/test_time.py::test_equals_a_loop_of_step
        laws/test_time.py::test_each_direction_is_its_own_unroll
        laws/test_time.py::test_without_options_equals_all_valid
        laws/test_time.py::test_compiled_it_is_the_same
        laws/test_dtype.py::test_float32_laws""",
    ),
    law(
        2,
        "oracle",
        "`step` equals NumPy written from the paper's equations.",
        """laws/test_oracle.py::test_step_is_the_equation
        laws/test_oracle.py::test_step_of_other_options
        laws/test_oracle.py::test_compositions_are_what_they_say
        laws/test_oracle.py::test_merges
        laws/test_images.py::test_a_stack_is_one_after_the_other
        laws/test_images.py::test_both_directions_are_joined_by_channel
        laws/test_images.py::test_a_learned_carry_has_a_value_for_each_channel""",
    ),
    law(
        3,
        "peers",
        """Values and gradients equal those of torch, Keras, Flax, Haiku and Equinox with
        mapped weights: 1e-10 in float64, 1e-5 in float32.""",
        """peers/test_stored.py::test_values_and_gradients_are_the_stored_ones
        peers/test_live.py::test_values_and_gradients_are_the_peers""",
    ),
    law(
        4,
        "batch",
        """A batch equals its rows one by one; any number of batch dimensions; `vmap`
        equals a loop; rows permuted, outputs permuted.""",
        """laws/test_batch.py::test_a_batch_equals_its_rows
        laws/test_batch.py::test_a_batch_of_batches_equals_its_batches
        laws/test_batch.py::test_rows_permuted_outputs_permuted
        laws/test_batch.py::test_vmap_over_the_batch_equals_the_batch
        laws/test_batch.py::test_a_step_without_batch""",
    ),
    law(
        5,
        "chunk",
        """`unroll(xs)` equals `unroll(xs[:k])` and then `unroll(xs[k:])` from its carry,
        with lengths cut likewise; under `reverse` the later part runs first. (Laws 1 and
        5 are not `bidirectional`'s: each half equals its own unroll, merged.)""",
        "laws/test_time.py::test_a_sequence_may_be_cut_anywhere",
    ),
    law(
        6,
        "ragged",
        """With lengths or any mask a row equals that row alone without its invalid
        steps. Padding made of NaN, Inf or 1e30 changes no bit of outputs, carry, loss or
        gradients.""",
        """laws/test_time.py::test_a_row_equals_itself_without_its_invalid_steps
        laws/test_time.py::test_padding_changes_no_bit
        laws/test_time.py::test_compiled_too_padding_changes_no_bit
        laws/test_batch.py::test_empty_sequences_and_empty_batches""",
    ),
    law(
        7,
        "reset",
        "A reset at t equals starting anew at t, forwards and backwards in time.",
        """laws/test_time.py::test_a_row_equals_itself_without_its_invalid_steps
        laws/test_time.py::test_equals_a_loop_of_step""",
    ),
    law(
        8,
        "reverse",
        "`reverse` equals flip, run, flip for each row's valid part.",
        "laws/test_time.py::test_reverse_is_flip_run_flip_of_the_valid_part",
    ),
    law(
        9,
        "remat",
        "Every `remat` gives the same value and gradient.",
        """laws/test_time.py::test_remat_changes_nothing
        laws/test_time.py::test_any_number_of_steps_between_stored_carries
        laws/test_time.py::test_blocks_of_steps_change_nothing""",
    ),
    law(
        10,
        "transform",
        """jit equals no jit; a second call of the same shapes compiles nothing; jvp, grad
        of grad, Hessian, `vmap` over batch, params and hyperparameters, checkpoint,
        `shard_map`, explicit mesh axes and export mean what they mean of a loop; so do
        values that a cell closes over.""",
        """transformations/test_table.py::test_a_transformation_means_what_it_means_of_a_loop
        laws/test_time.py::test_the_tangent_is_the_gradient_along_it
        laws/test_time.py::test_a_second_call_compiles_nothing
        laws/test_time.py::test_compiled_every_other_way_it_is_the_same
        laws/test_transform.py::test_jit_changes_nothing_and_compiles_once
        laws/test_transform.py::test_closed_over_hyperparameters
        laws/test_sharding.py::test_shard_map_over_the_batch
        laws/test_sharding.py::test_shard_map_over_a_population
        laws/test_sharding.py::test_sharded_arrays_under_jit""",
    ),
    law(
        11,
        "dtype",
        """The carry's dtype is a fixed point and nothing is promoted unasked, in bfloat16,
        float16, float32 and float64; errors stay in a stated budget; saturated gates
        give finite gradients.""",
        """laws/test_dtype.py::test_the_carry_is_a_fixed_point
        laws/test_time.py::test_inputs_that_saturate_every_gate_leave_all_finite
        laws/test_numbers.py::test_errors_after_a_hundred_steps
        laws/test_precision.py::test_error_against_float64_stays_in_budget""",
    ),
    law(
        12,
        "gates",
        """With a gate forced to 0 or 1 the cell does exactly what its equation says, bit
        for bit.""",
        """laws/test_gates.py::test_an_open_gate_keeps_the_memory_bit_for_bit
        laws/test_gates.py::test_a_shut_gate_forgets_the_memory
        laws/test_gates.py::test_lstm_keeps_its_cell_state_bit_for_bit
        laws/test_gates.py::test_gru_with_an_open_keep_gate_keeps_its_state""",
    ),
    law(
        13,
        "parameters",
        """Each parameter changes the output and has a non-zero gradient; counts equal the
        formula; initial statistics are as stated.""",
        """laws/test_parameters.py::test_each_parameter_has_a_gradient_everywhere
        laws/test_parameters.py::test_counts""",
    ),
    law(
        14,
        "errors",
        "Every wrong shape, dtype, length or option raises the promised ValueError.",
        "laws/test_errors.py::test_raises",
    ),
    law(
        15,
        "associative",
        """combine is associative and act respects it; the parallel, the chunked, the
        blocked and the sequential way equal `step` in a loop.""",
        "",  # there is no associative cell yet
    ),
    law(
        16,
        "noise",
        """Rate 0 is the plain cell bit for bit, and so is a cell without a key, or it is
        the paper's evaluation. Statistics of what is dropped are as stated. A row's
        noise does not depend on the rows beside it, on their number, on remat or on the
        engine. Gradients equal those of a loop given the same noise.""",
        """laws/test_noise.py::test_rate_0_and_no_key_are_the_plain_cell
        laws/test_noise.py::test_units_are_dropped_at_this_rate_and_the_others_scaled
        laws/test_images.py::test_dropout_drops_single_pixels
        laws/test_noise.py::test_a_row_draws_by_its_key_alone
        laws/test_noise.py::test_it_depends_on_no_option
        laws/test_noise.py::test_each_wrapper_draws_its_own
        laws/test_noise.py::test_gradients_are_those_of_a_loop_with_the_same_noise
        laws/test_noise_inside.py::test_gradients_are_those_of_a_loop_with_the_same_noise
        laws/test_noise_inside.py::test_rate_0_and_no_key_are_the_plain_cell
        laws/test_noise_inside.py::test_zoneout_evaluates_to_its_expectation
        laws/test_noise_inside.py::test_masks_have_this_rate
        laws/test_noise_inside.py::test_gaussian_noise_is_normal
        laws/test_noise_inside.py::test_masks_depend_on_no_option
        laws/test_noise_inside.py::test_a_reset_brings_a_new_mask
        laws/test_noise_inside.py::test_a_row_draws_by_its_key_alone""",
    ),
)
