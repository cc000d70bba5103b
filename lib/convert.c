// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A conversion, from top to bottom: check, tell listeners, zero, ask the kernel, tell
 * listeners, discard what the mechanism leaves, and remember.  Until the last step
 * the states are the old ones, which is how an undo knows what to undo.
 */
#include <errno.h>

#include "internal.h"

/* Between attempts, doubling. */
#define FIRST_PAUSE_MS	1
#define LONGEST_PAUSE_MS	50

/* ---- The kernel ------------------------------------------------------------ */

/*
 * May the kernel be asked to convert @part by gpa?  In place, without a slot, that would
 * change attributes of the VM.  @lock is held.
 */
static bool goes_by_gpa(const struct request *req, const struct gmem_range *part)
{
	return req->vm->probe.mechanism == GMEM_TWO_BACKINGS ||
	       binding_at(req->vm, part->gpa)->has_slot;
}

/*
 * Make @call, which ends at *@at, one by gpa, and add what is bound from there on without
 * a gap.  @lock is held.
 */
static void extend(const struct request *req, uint64_t *at, struct gmem_range *call)
{
	struct gmem_range part;
	uint64_t next = *at;

	call->gmem = NULL;
	while (next_part(req, &next, &part) && part.gpa == *at && goes_by_gpa(req, &part)) {
		call->size += part.size;
		*at = next;
	}
}

/* What one call of the kernel can convert, from *@at on; *@at is moved to its end. */
static bool next_call(const struct request *req, uint64_t *at, struct gmem_range *call)
{
	bool by_gpa = req->vm->probe.mechanism == GMEM_TWO_BACKINGS;
	bool found;

	/* One call for everything, if possible. */
	if (*at < req->end && req->gmem && !by_gpa) {
		*call = (struct gmem_range){
			.gmem = req->gmem,
			.offset = *at,
			.gpa = GMEM_NO_GPA,
			.size = req->end - *at,
		};
		*at = req->end;
		return true;
	}

	pthread_mutex_lock(&req->vm->lock);
	do
		found = next_part(req, at, call);
	while (found && by_gpa && call->gpa == GMEM_NO_GPA);
	if (found && !req->gmem && req->vm->probe.is_atomic && goes_by_gpa(req, call))
		extend(req, at, call);
	pthread_mutex_unlock(&req->vm->lock);

	return found;
}

/* One call; @where is as the request counts. */
static int call_kernel(const struct request *req, const struct gmem_range *call,
		       bool to_private, uint64_t policy, uint64_t *where)
{
	const struct gmem_vm *vm = req->vm;
	int r;

	*where = address_of(req, call);
	switch (vm->probe.mechanism) {
	case GMEM_TWO_BACKINGS:
		return set_attributes_of_vm(vm->fd, call->gpa, call->size, to_private);
	case GMEM_IN_PLACE_PLAIN:
		policy = vm->plain_policy[to_private];
		break;
	default:
		if (!call->gmem)
			return set_attributes_in_place(vm->fd, call->gpa, call->size, to_private,
						       policy, where);
		break;
	}

	r = set_attributes_in_place(call->gmem->private_fd, call->offset, call->size, to_private,
				    policy, where);
	*where = address_of(req, call) + (*where - call->offset);
	return r;
}

/* @lock is held. */
static void remember(struct request *req, const struct gmem_range *range)
{
	size_t page_size = req->vm->page_size;

	states_set(&range->gmem->states, range->offset / page_size,
		   (range->offset + range->size) / page_size, req->to_private);
}

/* Try again after -EAGAIN? 0, or the error to give up with. */
static int wait_for_holder(struct request *req, uint64_t where)
{
	const struct gmem_convert_opts *opts = &req->opts;
	unsigned int attempts = req->result.attempts;
	uint64_t pause = attempts < 8 ? FIRST_PAUSE_MS << (attempts - 1) : LONGEST_PAUSE_MS;
	uint64_t until = req->patience.until_ms, now = now_ms();
	int r;

	if (!opts->timeout_ms || now >= until)
		return -EAGAIN;

	if (opts->busy) {
		r = opts->busy(opts->arg, where, attempts);
		if (r)
			return r < 0 ? r : -EAGAIN;
		now = now_ms();
		if (now >= until)
			return -EAGAIN;
	}

	if (pause > LONGEST_PAUSE_MS)
		pause = LONGEST_PAUSE_MS;
	if (pause < until - now)
		until = now + pause;
	return sleep_until(req->vm, until, opts->cancel);
}

/* All calls, until one fails. */
static int convert_all(struct request *req)
{
	uint64_t at = req->start, where;
	struct gmem_range call;
	int r;

	for (; next_call(req, &at, &call); req->converted = at) {
		while ((r = call_kernel(req, &call, req->to_private, req->policy,
					&where)) == -EAGAIN) {
			req->result.attempts++;
			r = wait_for_holder(req, where);
			if (r)
				break;
		}
		if (r)
			return fail(req, GMEM_STEP_CONVERT, where, r);
	}
	req->converted = req->end;

	return 0;
}

/*
 * Punch holes where the pages change; *@missed counts the bytes for which that failed.  If
 * that is NULL, zeros must be read there.
 * In place these are the guest's contents, which are lost if the conversion fails.
 */
static int punch_changes(struct request *req, bool shared_half, uint64_t *missed,
			 enum gmem_step step)
{
	bool two = req->vm->probe.mechanism == GMEM_TWO_BACKINGS;
	uint64_t at = req->start;
	struct gmem_range change;
	int r;

	while (next_change(req, &at, false, &change)) {
		r = missed ? discard(change.gmem, shared_half, change.offset, change.size) :
			     clear(change.gmem, shared_half, change.offset, change.size);
		if (r && !missed)
			return fail(req, step, address_of(req, &change), r);
		if (r)
			*missed += change.size;
		else if (!two)
			req->result.contents_lost = true;
	}

	return 0;
}

/* ---- Undo ------------------------------------------------------------------ */

static void note(struct request *req, int undo_error)
{
	if (!req->result.undo_error)
		req->result.undo_error = undo_error;
}

/* @change is not converted back, because of @undo_error. */
static void leave(struct request *req, const struct gmem_range *change, int undo_error)
{
	struct gmem_result *result = &req->result;

	note(req, undo_error);
	pthread_mutex_lock(&req->vm->lock);
	remember(req, change);
	pthread_mutex_unlock(&req->vm->lock);
	if (!result->left_size)
		result->left = address_of(req, change);
	result->left_size = address_of(req, change) + change->size - result->left;
}

/* Keep the contents if possible. */
static int convert_back(struct request *req, const struct gmem_range *change)
{
	const struct gmem_probe *probe = &req->vm->probe;
	uint32_t policies = req->to_private ? probe->to_shared : probe->to_private;
	uint64_t policy = policies & GMEM_POLICY_BIT(GMEM_PRESERVE) ? GMEM_PRESERVE : GMEM_NONE;
	bool two = probe->mechanism == GMEM_TWO_BACKINGS;
	bool plain = probe->mechanism == GMEM_IN_PLACE_PLAIN;
	uint64_t where;
	int r;

	/* Only the library's states have changed. */
	if (two && change->gpa == GMEM_NO_GPA)
		return 0;

	r = call_kernel(req, change, !req->to_private, policy, &where);
	/* Both halves still exist; without policies contents are kept both ways or neither. */
	if (!r && !two && (policy != GMEM_PRESERVE || (!plain && req->policy != GMEM_PRESERVE)))
		req->result.contents_lost = true;

	return r;
}

/* The first @told listeners have let go of @change, and take hold again of what is shared. */
static void undo_to_private(struct request *req, const struct gmem_range *change, size_t told)
{
	int r = 0;

	if (address_of(req, change) < req->converted)
		r = req->opts.flags & GMEM_NO_UNDO ? -ECANCELED : convert_back(req, change);
	if (r) {
		leave(req, change, r);
		return;
	}
	while (told)
		note(req, tell(&req->vm->listeners[--told], change, false));
}

/*
 * The first @told listeners hold @change.  They let go before it is converted back, the
 * last one first.  If one does not, or the kernel refuses, all take hold of what stays
 * shared.
 */
static void undo_to_shared(struct request *req, const struct gmem_range *change, size_t told)
{
	int r = req->opts.flags & GMEM_NO_UNDO ? -ECANCELED : 0;

	while (!r && told) {
		r = tell(&req->vm->listeners[told - 1], change, true);
		if (!r)
			told--;
	}
	if (!r)
		r = convert_back(req, change);
	if (!r)
		return;

	leave(req, change, r);
	for (; told < req->vm->nr_listeners; told++)
		note(req, tell(&req->vm->listeners[told], change, false));
}

/*
 * Only what changed, as the rest was like this before.  What stays converted is
 * remembered as such, and in the end listeners hold what is shared, except where they
 * refused.
 */
static void undo(struct request *req)
{
	uint64_t at = req->start;
	struct gmem_range change;
	size_t told;

	while (next_change(req, &at, false, &change)) {
		told = req->nr_told + (address_of(req, &change) < req->told_until);
		if (req->to_private)
			undo_to_private(req, &change, told);
		else if (address_of(req, &change) < req->converted)
			undo_to_shared(req, &change, told);
	}
}

/* ---- All of it -------------------------------------------------------------- */

static int convert(struct request *req)
{
	bool two = req->vm->probe.mechanism == GMEM_TWO_BACKINGS;
	bool plain = req->vm->probe.mechanism == GMEM_IN_PLACE_PLAIN;
	bool zero = req->policy == GMEM_ZERO && !req->to_private;
	struct gmem_range part;
	uint64_t at;
	int r = 0;

	if (req->to_private)
		r = tell_all(req);
	/*
	 * Zero before the host can read.  With two backings nobody has a right to the shared
	 * half of a private page; in place, without policies, the page itself is removed.
	 */
	if (!r && zero && (two || plain))
		r = punch_changes(req, true, NULL, two ? GMEM_STEP_PREPARE : GMEM_STEP_ZERO);
	if (!r)
		r = convert_all(req);
	if (!r && !req->to_private)
		r = tell_all(req);
	if (r) {
		undo(req);
		return r;
	}

	/* From here on nothing fails. */
	req->result.contents_lost = false;
	if (two && !(req->opts.flags & GMEM_NO_DISCARD))
		punch_changes(req, req->to_private, &req->result.undiscarded, GMEM_STEP_DONE);

	pthread_mutex_lock(&req->vm->lock);
	for (at = req->start; next_part(req, &at, &part); )
		remember(req, &part);
	pthread_mutex_unlock(&req->vm->lock);

	return 0;
}

static int start(struct request *req, uint64_t size, uint64_t attributes,
		 const struct gmem_convert_opts *caller, struct gmem_result *out)
{
	int r = out ? check_struct(out) : 0;
	bool has_turn = false;

	if (r)
		return r;

	req->result = (struct gmem_result){ .step = GMEM_STEP_CHECK, .where = req->start };
	req->opts = GMEM_CONVERT_OPTS;
	if (caller)
		r = take_struct(&req->opts, caller, sizeof(req->opts));

	req->end = req->start + size;
	req->converted = req->start;
	req->patience = patience_of(req->opts.timeout_ms, req->opts.cancel);
	req->to_private = attributes == GMEM_PRIVATE;
	req->policy = req->to_private ? req->opts.to_private : req->opts.to_shared;
	if (req->policy == GMEM_DEFAULT)
		req->policy = req->vm->default_policy[req->to_private];

	if (!r)
		r = check_request(req, size, attributes);
	if (!r) {
		r = take_turn(req->vm, &req->turn, &req->patience);
		has_turn = !r;
		if (r)
			fail(req, GMEM_STEP_TURN, req->start, r);
	}
	if (has_turn) {
		r = check_bindings(req);
		if (!r) {
			pthread_mutex_unlock(&req->vm->lock);
			req->result.step = GMEM_STEP_DONE;
			r = convert(req);
			pthread_mutex_lock(&req->vm->lock);
		}
		end_turn(req->vm, &req->turn);
	}

	if (out)
		give_struct(out, &req->result, sizeof(req->result));
	return r;
}

API int gmem_convert_gpa(struct gmem_vm *vm, uint64_t gpa, uint64_t size, uint64_t attributes,
			 const struct gmem_convert_opts *opts, struct gmem_result *result)
{
	struct request req = {
		.vm = vm, .start = gpa,
		.turn = { .gpa = gpa, .gpa_end = gpa + size },
	};

	return start(&req, size, attributes, opts, result);
}

API int gmem_convert(struct gmem *gmem, uint64_t offset, uint64_t size, uint64_t attributes,
		     const struct gmem_convert_opts *opts, struct gmem_result *result)
{
	struct request req = {
		.vm = gmem->vm, .gmem = gmem, .start = offset,
		.turn = { .gmem = gmem, .offset = offset, .offset_end = offset + size },
	};

	return start(&req, size, attributes, opts, result);
}
