/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * token-order.h: which token may follow a text, for models that were taught to
 * write what happens in a window in one order only. Samplers of all devices
 * share this rule.
 *
 * A text is (training/note-encoder.c writes no other)
 *
 *   { [program] pitch } tie { [shift] [program] [velocity] pitch-or-drum } end
 *
 * Before the tie stands what sounds already, by program and pitch. Behind it
 * every shift is later than the one before, and the events of one moment are
 * ends (velocity 0), then onsets, by program and pitch, then drums. So nothing
 * is written twice, and a text comes to an end. Programs and velocities hold
 * until others are written, which they are only when they change; a drum needs
 * no program.
 */
#pragma once

#include <stdint.h>

#ifdef __CUDACC__
#define MT3_ORDER_FUNCTION static __host__ __device__ __forceinline__
#else
#define MT3_ORDER_FUNCTION static inline
#endif

/* The tokens first .. end - 1 mean 0, 1 ...; none when both are the same. */
typedef struct {
  uint16_t first, end;
} Mt3TokenRange;

/**
 * Mt3TokenOrder:
 * @shift: as far as a window goes
 * @pitch, @program, @drum: 128 tokens at most. Those of pitches and drums end
 *   with the last that the text may have, so that a program or velocity is only
 *   written where an event can follow
 * @tie: none when texts have no part before it
 *
 * All 0: any token may follow.
 */
typedef struct {
  Mt3TokenRange shift, pitch, velocity, tie, program, drum;
} Mt3TokenOrder;

/* What the text ends in. */
typedef enum {
  MT3_ORDER_EVENT, /* or nothing, or the tie */
  MT3_ORDER_SHIFT,
  MT3_ORDER_PROGRAM,
  MT3_ORDER_VELOCITY,
  MT3_ORDER_PROGRAM_VELOCITY,
} Mt3OrderPlace;

/**
 * Mt3TokenState: of a text so far
 * @next: the least rank that the next event may have, see mt3_order_rank()
 * @shift: of the moment
 * @program, @velocity: that hold; -1: none yet
 * @in_ties: the tie is still to come
 * @place: a #Mt3OrderPlace
 */
typedef struct {
  int32_t next;
  int16_t shift, program, velocity;
  uint8_t in_ties, place;
} Mt3TokenState;

typedef enum {
  MT3_ORDER_ENDS, /* or what is tied */
  MT3_ORDER_ONSETS,
  MT3_ORDER_DRUMS,
} Mt3OrderPhase;

/* Events of a moment, and what is tied, have ascending ranks. */
MT3_ORDER_FUNCTION int
mt3_order_rank (int phase, int program, int pitch)
{
  return (phase * 128 + program) * 128 + pitch;
}

MT3_ORDER_FUNCTION int
mt3_order_has (Mt3TokenRange range, int token)
{
  return token >= range.first && token < range.end;
}

/* Whether a pitch of @program can still come in @phase. */
MT3_ORDER_FUNCTION int
mt3_order_pitch_can_follow (const Mt3TokenOrder *order,
    const Mt3TokenState *state, int phase, int program)
{
  const int last = order->pitch.end - order->pitch.first - 1;

  return last >= 0 && program >= 0 &&
         mt3_order_rank (phase, program, last) >= state->next;
}

MT3_ORDER_FUNCTION int
mt3_order_drum_can_follow (
    const Mt3TokenOrder *order, const Mt3TokenState *state)
{
  const int last = order->drum.end - order->drum.first - 1;

  return last >= 0 && mt3_order_rank (MT3_ORDER_DRUMS, 0, last) >= state->next;
}

MT3_ORDER_FUNCTION int
mt3_order_phase (const Mt3TokenState *state)
{
  return !state->in_ties && state->velocity > 0 ? MT3_ORDER_ONSETS
                                                : MT3_ORDER_ENDS;
}

MT3_ORDER_FUNCTION int
mt3_order_permits_shift (
    const Mt3TokenOrder *order, const Mt3TokenState *state, int shift)
{
  return !state->in_ties && state->place == MT3_ORDER_EVENT &&
         shift > state->shift &&
         (order->pitch.end > order->pitch.first ||
             order->drum.end > order->drum.first);
}

/* What ends in a program can also begin in it, but not the other way round. */
MT3_ORDER_FUNCTION int
mt3_order_permits_program (
    const Mt3TokenOrder *order, const Mt3TokenState *state, int program)
{
  return (state->place == MT3_ORDER_EVENT || state->place == MT3_ORDER_SHIFT) &&
         program != state->program &&
         mt3_order_pitch_can_follow (order, state,
             state->in_ties ? MT3_ORDER_ENDS : MT3_ORDER_ONSETS, program);
}

MT3_ORDER_FUNCTION int
mt3_order_permits_velocity (
    const Mt3TokenOrder *order, const Mt3TokenState *state, int velocity)
{
  if (state->in_ties || state->place >= MT3_ORDER_VELOCITY ||
      velocity == state->velocity)
    return 0;
  return mt3_order_pitch_can_follow (order, state,
             velocity > 0 ? MT3_ORDER_ONSETS : MT3_ORDER_ENDS,
             state->program) ||
         (velocity > 0 && state->place != MT3_ORDER_PROGRAM &&
             mt3_order_drum_can_follow (order, state));
}

MT3_ORDER_FUNCTION int
mt3_order_permits_pitch (const Mt3TokenState *state, int pitch)
{
  return state->program >= 0 && (state->in_ties || state->velocity >= 0) &&
         mt3_order_rank (mt3_order_phase (state), state->program, pitch) >=
             state->next;
}

MT3_ORDER_FUNCTION int
mt3_order_permits_drum (const Mt3TokenState *state, int drum)
{
  return !state->in_ties && state->place != MT3_ORDER_PROGRAM &&
         state->place != MT3_ORDER_PROGRAM_VELOCITY && state->velocity > 0 &&
         mt3_order_rank (MT3_ORDER_DRUMS, 0, drum) >= state->next;
}

MT3_ORDER_FUNCTION int
mt3_token_order_exists (const Mt3TokenOrder *order)
{
  return order->shift.end > 0;
}

/* The state of the empty text. */
MT3_ORDER_FUNCTION Mt3TokenState
mt3_token_order_start (const Mt3TokenOrder *order)
{
  Mt3TokenState state = {0, 0, -1, -1, 0, MT3_ORDER_EVENT};

  state.in_ties = order->tie.end > order->tie.first;
  return state;
}

/* Whether @token may follow; @end_token ends a text. */
MT3_ORDER_FUNCTION int
mt3_token_order_permits (const Mt3TokenOrder *order, const Mt3TokenState *state,
    int token, int end_token)
{
  if (token == end_token)
    return state->place == MT3_ORDER_EVENT && !state->in_ties;
  if (mt3_order_has (order->shift, token))
    return mt3_order_permits_shift (order, state, token - order->shift.first);
  if (mt3_order_has (order->pitch, token))
    return mt3_order_permits_pitch (state, token - order->pitch.first);
  if (mt3_order_has (order->velocity, token))
    return mt3_order_permits_velocity (
        order, state, token - order->velocity.first);
  if (mt3_order_has (order->tie, token))
    return state->place == MT3_ORDER_EVENT && state->in_ties;
  if (mt3_order_has (order->program, token))
    return mt3_order_permits_program (
        order, state, token - order->program.first);
  if (mt3_order_has (order->drum, token))
    return mt3_order_permits_drum (state, token - order->drum.first);
  return 0;
}

/* @state becomes that of the text with @token behind it. */
MT3_ORDER_FUNCTION void
mt3_token_order_follow (
    const Mt3TokenOrder *order, Mt3TokenState *state, int token)
{
  if (mt3_order_has (order->shift, token)) {
    state->shift = (int16_t) (token - order->shift.first);
    state->next = 0;
    state->place = MT3_ORDER_SHIFT;
  } else if (mt3_order_has (order->program, token)) {
    state->program = (int16_t) (token - order->program.first);
    state->place = MT3_ORDER_PROGRAM;
  } else if (mt3_order_has (order->velocity, token)) {
    state->velocity = (int16_t) (token - order->velocity.first);
    state->place = state->place == MT3_ORDER_PROGRAM
                       ? MT3_ORDER_PROGRAM_VELOCITY
                       : MT3_ORDER_VELOCITY;
  } else if (mt3_order_has (order->tie, token)) {
    state->in_ties = 0;
    state->next = 0;
    state->place = MT3_ORDER_EVENT;
  } else if (mt3_order_has (order->pitch, token)) {
    state->next = mt3_order_rank (mt3_order_phase (state), state->program,
                      token - order->pitch.first) +
                  1;
    state->place = MT3_ORDER_EVENT;
  } else if (mt3_order_has (order->drum, token)) {
    state->next =
        mt3_order_rank (MT3_ORDER_DRUMS, 0, token - order->drum.first) + 1;
    state->place = MT3_ORDER_EVENT;
  }
}
