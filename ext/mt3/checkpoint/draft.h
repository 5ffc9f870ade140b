/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * draft.h: a draft network: a small network that guesses which tokens a model's
 * decoder will write next, so that one step of the decoder can check several
 * (Leviathan et al., "Fast Inference from Transformers via Speculative
 * Decoding", 2023). It was trained for one model and is of no use to others.
 *
 * Of h, and of the token that was chosen from it, which takes place p of the
 * decoder's text (the start token has place 0), it makes the logits of the
 * token at place p + 1:
 *
 *   x = embedding [token] + sinusoid [p - 1] + norm (h) state
 *   x += attention of norm (x) to norm (x) of this token and of all before it
 *   x += attention of norm (x) to the encoder's output
 *   x += (GELU (norm (x) wi_0) * (norm (x) wi_1)) wo
 *   logits = norm (x) logits_dense
 *
 * h is the residual stream behind the decoder's last layer. For each token
 * after that, h is the last x before, which knows what attention found:
 *
 *   x = embedding [token] + sinusoid [p - 1] + norm (h) own_state
 *   x += (GELU (norm (x) own_wi_0) * (norm (x) own_wi_1)) own_wo
 *   logits = norm (x) logits_dense
 *
 * The embedding and the logits, with the norm before them, are the model's own;
 * the file has the rest. All else is as in the decoder: sinusoids, RMS norms
 * with their scales, attention in heads, its scores not scaled, to the
 * encoder's output behind the encoder's last norm, and GELU by tanh.
 */
#pragma once

#include "checkpoint/archive.h"
#include "checkpoint/model.h"

G_BEGIN_DECLS

/* The metadata that says which model it is for: mt3_draft_model_digest(). */
#define MT3_DRAFT_MODEL_KEY "mt3.model"

typedef struct _Mt3Draft Mt3Draft;

/* SHA-256, in hexadecimal, of the scale of the decoder's last norm in float16,
 * little endian: the same in any format that keeps as many bits. Does not fail;
 * safe to call from any thread. Free with g_free(). */
gchar *mt3_draft_model_digest (const Mt3Model *model);

/**
 * mt3_draft_open:
 * @path: a safetensors file with the tensors of mt3_draft_schema_new(), in F32,
 *   F16 or BF16
 * @model: the model that it should be for
 *
 * Checks that it is for the model, and every name, shape, dtype and value. The
 * file is memory-mapped: its tensors are views into the page cache. Safe to
 * call from any thread; may block on disk.
 *
 * Returns: (transfer full): the network, or %NULL with an #MT3_ERROR that names
 *   the file and the tensor, what was expected and what was found;
 *   %MT3_ERROR_MODEL, which names both files, for a network of another model
 */
Mt3Draft *mt3_draft_open (
    const gchar *path, const Mt3Model *model, GError **error);

/* The same from the file's bytes; @path is for messages. */
Mt3Draft *mt3_draft_open_bytes (
    GBytes *bytes, const gchar *path, const Mt3Model *model, GError **error);

void mt3_draft_free (Mt3Draft *draft);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Draft, mt3_draft_free)

const gchar *mt3_draft_path (const Mt3Draft *draft);

/* A tensor by name, e.g. "state/kernel"; belongs to the draft. Never NULL for a
 * name of the schema: the draft was validated. */
const Mt3Tensor *mt3_draft_tensor (const Mt3Draft *draft, const gchar *name);

/* Whether a file is a draft network, for any model, by its metadata. */
gboolean mt3_draft_is_likely (const Mt3Archive *archive);

G_END_DECLS
