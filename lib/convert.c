// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A conversion, from top to bottom: check, tell listeners, zero, ask the kernel, tell
 * listeners, discard what the mechanism leaves, and remember.  Until the last step
 * the states are those of before, which is how an undo knows what to undo.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

/* Between attempts, doubling. */
#define FIRST_PAUSE_MS	1
#define LONGEST_PAUSE_MS	50

/* ---- What a request covers ----------------------------------------------- */

/*
 * The part of a request that begins at *@at, in one memory and bound in one piece, or
 * unbound; *@at is moved behind it.  False at the end.  By gpa, that everything is
 * bound has been checked, and stays so.
 */
static bool next_part(const struct request *req, uint64_t *at, struct gmem_range *part)
{
	const struct binding *b;
	uint64_t end = req->end;

	if (*at >= req->end)
		return false;

	*part = (struct gmem_range){ .gmem = req->gmem, .offset = *at, .gpa = GMEM_NO_GPA };
	if (req->gmem) {
		b = binding_of(req->gmem, *at, &end);
		if (b) {
			part->gpa = b->gpa + (*at - b->offset);
			if (b->offset + b->size < end)
				end = b->offset + b->size;
		}
	} else {
		b = binding_at(req->vm, *at);
		part->gmem = b->gmem;
		part->gpa = *at;
		part->offset = b->offset + (*at - b->gpa);
		if (b->gpa + b->size < end)
			end = b->gpa + b->size;
	}

	part->size = end - *at;
	*at = end;
	return true;
}

/* The same for pages that change, so that one part can be many. */
static bool next_change(const struct request *req, uint64_t *at, struct gmem_range *change)
{
	size_t page_size = req->vm->page_size;
	uint64_t began = *at, page, start, end;
	bool found = false;

	pthread_mutex_lock(&req->vm->lock);
	while (!found && next_part(req, at, change)) {
		page = change->offset / page_size;
		end = page + change->size / page_size;
		start = states_find(&change->gmem->states, page, end, !req->to_private);
		if (start < end) {
			end = states_find(&change->gmem->states, start, end, req->to_private);
			*at = began + (end - page) * page_size;
			change->offset += (start - page) * page_size;
			if (change->gpa != GMEM_NO_GPA)
				change->gpa += (start - page) * page_size;
			change->size = (end - start) * page_size;
			change->attributes = req->to_private ? GMEM_SHARED : GMEM_PRIVATE;
			found = true;
		}
		began = *at;
	}
	pthread_mutex_unlock(&req->vm->lock);

	return found;
}

/* Where @range is, as the request counts it. */
static uint64_t address_of(const struct request *req, const struct gmem_range *range)
{
	return req->gmem ? range->offset : range->gpa;
}

static int fail(struct request *req, enum gmem_step step, uint64_t where, int r)
{
	req->result.step = step;
	req->result.where = where;
	return r;
}

static int check(struct request *req, uint64_t size, uint64_t attributes)
{
	struct gmem_vm *vm = req->vm;
	uint32_t policies = req->to_private ? vm->probe.to_private : vm->probe.to_shared;
	const struct binding *b;
	uint64_t at;
	int r = 0;

	if (!size || size % vm->page_size || req->start % vm->page_size ||
	    req->end < req->start || (attributes & ~GMEM_PRIVATE) ||
	    (unsigned int)req->policy > GMEM_NONE ||
	    (req->opts.flags & ~(GMEM_NO_UNDO | GMEM_NO_DISCARD)))
		return -EINVAL;
	if (!(policies & GMEM_POLICY_BIT(req->policy)))
		return -EOPNOTSUPP;
	if (req->gmem)
		return req->end > req->gmem->size ? -EINVAL : 0;

	for (at = req->start; !r && at < req->end; at = b->gpa + b->size) {
		b = binding_at(vm, at);
		if (!b || at < b->gpa)
			r = -ENXIO;
		else if (!b->gmem)
			r = -EPERM;
		if (r)
			return fail(req, GMEM_STEP_CHECK, at, r);
	}

	return 0;
}

/* ---- Who converts what at the same time ----------------------------------- */

/* Does a request by gpa touch [start, end) of @gmem? */
static bool touches(const struct request *req, const struct gmem *gmem, uint64_t start,
		    uint64_t end)
{
	struct gmem_range part;
	uint64_t at = req->start;

	while (next_part(req, &at, &part)) {
		if (part.gmem == gmem && part.offset < end && start < part.offset + part.size)
			return true;
	}

	return false;
}

static bool overlap(const struct request *a, const struct request *b)
{
	/* A page has one gpa at most, so two of the same kind compare directly. */
	if (a->gmem == b->gmem)
		return a->start < b->end && b->start < a->end;
	if (a->gmem && b->gmem)
		return false;

	return a->gmem ? touches(b, a->gmem, a->start, a->end) :
			 touches(a, b->gmem, b->start, b->end);
}

/* Is another one in the way, or somebody to be let in first? */
static bool must_wait(const struct request *req)
{
	const struct request *other = req->vm->requests;

	while (other && !overlap(req, other))
		other = other->next;

	return other || req->vm->nr_waiting;
}

/*
 * Check and begin.  A request that has to wait is not on the list yet: it is checked
 * anew, as bindings may change until it is.
 */
static int begin(struct request *req, uint64_t size, uint64_t attributes)
{
	struct gmem_vm *vm = req->vm;
	int r;

	pthread_mutex_lock(&vm->lock);
	while (!(r = check(req, size, attributes)) && must_wait(req))
		pthread_cond_wait(&vm->changed, &vm->lock);
	if (!r) {
		req->next = vm->requests;
		vm->requests = req;
	}
	pthread_mutex_unlock(&vm->lock);

	return r;
}

static void finish(struct request *req)
{
	struct gmem_vm *vm = req->vm;
	struct request **at;

	pthread_mutex_lock(&vm->lock);
	for (at = &vm->requests; *at != req; at = &(*at)->next)
		;
	*at = req->next;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}

/* ---- Listeners ------------------------------------------------------------ */

static int tell(const struct request *req, size_t listener, const struct gmem_range *change,
		bool to_private)
{
	struct gmem_listener *l = req->vm->listeners[listener];
	int r = to_private ? l->before_private(l, change) : l->after_shared(l, change);

	return r > 0 ? -ECANCELED : r;
}

/* One change after the other, each to all listeners: so @told says who knows of what. */
static int tell_all(struct request *req)
{
	uint64_t at = req->start;
	struct gmem_range change;
	size_t i;
	int r;

	while (next_change(req, &at, &change)) {
		for (i = 0; i < req->vm->nr_listeners; i++, req->told++) {
			r = tell(req, i, &change, req->to_private);
			if (r)
				return fail(req, req->to_private ? GMEM_STEP_BEFORE_PRIVATE :
								   GMEM_STEP_AFTER_SHARED,
					    address_of(req, &change), r);
		}
	}

	return 0;
}

/* ---- The kernel ------------------------------------------------------------ */

/* What one call of the kernel can convert, from *@at on; *@at is moved behind it. */
static bool next_call(const struct request *req, uint64_t *at, struct gmem_range *call)
{
	bool by_gpa = req->vm->probe.mechanism == GMEM_TWO_BACKINGS;
	bool found;

	/* One call for all, where it can be had. */
	if (*at < req->end && (req->gmem ? !by_gpa : req->vm->probe.is_atomic)) {
		*call = (struct gmem_range){
			.gmem = req->gmem,
			.offset = *at,
			.gpa = req->gmem ? GMEM_NO_GPA : *at,
			.size = req->end - *at,
		};
		*at = req->end;
		return true;
	}

	pthread_mutex_lock(&req->vm->lock);
	do
		found = next_part(req, at, call);
	while (found && by_gpa && call->gpa == GMEM_NO_GPA);
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

static void remember(struct request *req, const struct gmem_range *range)
{
	size_t page_size = req->vm->page_size;

	pthread_mutex_lock(&req->vm->lock);
	states_set(&range->gmem->states, range->offset / page_size,
		   (range->offset + range->size) / page_size, req->to_private);
	pthread_mutex_unlock(&req->vm->lock);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

/* -EAGAIN once more?  0, or what to give up with. */
static int wait_for_holder(struct request *req, uint64_t where)
{
	const struct gmem_convert_opts *opts = &req->opts;
	unsigned int attempts = req->result.attempts;
	uint64_t pause = attempts < 8 ? FIRST_PAUSE_MS << (attempts - 1) : LONGEST_PAUSE_MS;
	uint64_t spent = now_ms() - req->began_ms;
	struct timespec ts;
	int r;

	if (spent >= opts->timeout_ms)
		return -EAGAIN;

	if (opts->busy) {
		r = opts->busy(opts->arg, where, attempts);
		if (r)
			return r < 0 ? r : -EAGAIN;
		spent = now_ms() - req->began_ms;
		if (spent >= opts->timeout_ms)
			return -EAGAIN;
	}

	if (pause > LONGEST_PAUSE_MS)
		pause = LONGEST_PAUSE_MS;
	if (pause > opts->timeout_ms - spent)
		pause = opts->timeout_ms - spent;
	ts = (struct timespec){ .tv_nsec = pause * 1000000 };
	nanosleep(&ts, NULL);
	return 0;
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
 * Punch holes where the pages change; *@missed counts the bytes where that failed.  In
 * place that is what the guest had, and lost should the conversion fail.
 */
static int punch_changes(struct request *req, bool shared_half, uint64_t *missed,
			 enum gmem_step step)
{
	bool two = req->vm->probe.mechanism == GMEM_TWO_BACKINGS;
	uint64_t at = req->start;
	struct gmem_range change;
	int r;

	while (next_change(req, &at, &change)) {
		r = punch_hole(shared_half ? change.gmem->shared_fd : change.gmem->private_fd,
			       change.offset, change.size);
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

/* @change does not go back, for the reason @undo_error. */
static void leave(struct request *req, const struct gmem_range *change, int undo_error)
{
	struct gmem_result *result = &req->result;

	note(req, undo_error);
	remember(req, change);
	if (!result->left_size)
		result->left = address_of(req, change);
	result->left_size = address_of(req, change) + change->size - result->left;
}

/* Keeping contents if that can be had. */
static int convert_back(struct request *req, const struct gmem_range *change)
{
	const struct gmem_probe *probe = &req->vm->probe;
	uint32_t policies = req->to_private ? probe->to_shared : probe->to_private;
	uint64_t policy = policies & GMEM_POLICY_BIT(GMEM_PRESERVE) ? GMEM_PRESERVE : GMEM_NONE;
	bool two = probe->mechanism == GMEM_TWO_BACKINGS;
	bool plain = probe->mechanism == GMEM_IN_PLACE_PLAIN;
	uint64_t where;
	int r;

	/* It has changed in the library's eyes only. */
	if (two && change->gpa == GMEM_NO_GPA)
		return 0;

	r = call_kernel(req, change, !req->to_private, policy, &where);
	/* Both halves are there still; what is plain keeps both ways or neither. */
	if (!r && !two && (policy != GMEM_PRESERVE || (!plain && req->policy != GMEM_PRESERVE)))
		req->result.contents_lost = true;

	return r;
}

/* The first @told listeners have let go of @change, and take hold again where it is shared. */
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
		note(req, tell(req, --told, change, false));
}

/*
 * The first @told listeners hold @change.  They let go before it goes back, the last one
 * first.  If one does not, or the kernel refuses, all get to hold what stays shared.
 */
static void undo_to_shared(struct request *req, const struct gmem_range *change, size_t told)
{
	int r = req->opts.flags & GMEM_NO_UNDO ? -ECANCELED : 0;

	while (!r && told) {
		r = tell(req, told - 1, change, true);
		if (!r)
			told--;
	}
	if (!r)
		r = convert_back(req, change);
	if (!r)
		return;

	leave(req, change, r);
	for (; told < req->vm->nr_listeners; told++)
		note(req, tell(req, told, change, false));
}

/*
 * Only what changed, as the rest was so before.  What stays converted is remembered so,
 * and listeners hold in the end what is shared, except where they refused.
 */
static void undo(struct request *req)
{
	size_t nr = req->vm->nr_listeners, told;
	uint64_t at = req->start;
	struct gmem_range change;

	while (next_change(req, &at, &change)) {
		told = req->told < nr ? req->told : nr;
		req->told -= told;
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
	 * Zeros before the host may look.  With two backings nobody has a right to the shared
	 * half of a private page; in place, without policies, the page itself goes.
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

	for (at = req->start; next_part(req, &at, &part); )
		remember(req, &part);

	return 0;
}

static int start(struct request *req, uint64_t size, uint64_t attributes,
		 const struct gmem_convert_opts *caller, struct gmem_result *out)
{
	int r = 0;

	if (out && out->struct_size < sizeof(out->struct_size))
		return -EINVAL;

	req->result = (struct gmem_result){ .step = GMEM_STEP_CHECK, .where = req->start };
	req->opts = GMEM_CONVERT_OPTS;
	if (caller)
		r = take_struct(&req->opts, caller, sizeof(req->opts));

	req->end = req->start + size;
	req->converted = req->start;
	req->began_ms = now_ms();
	req->to_private = attributes == GMEM_PRIVATE;
	req->policy = req->to_private ? req->opts.to_private : req->opts.to_shared;

	if (!r)
		r = begin(req, size, attributes);
	if (!r) {
		req->result.step = GMEM_STEP_DONE;
		r = convert(req);
		finish(req);
	}

	if (out)
		give_struct(out, &req->result, sizeof(req->result));
	return r;
}

API int gmem_convert_gpa(struct gmem_vm *vm, uint64_t gpa, uint64_t size, uint64_t attributes,
			 const struct gmem_convert_opts *opts, struct gmem_result *result)
{
	struct request req = { .vm = vm, .start = gpa };

	return start(&req, size, attributes, opts, result);
}

API int gmem_convert(struct gmem *gmem, uint64_t offset, uint64_t size, uint64_t attributes,
		     const struct gmem_convert_opts *opts, struct gmem_result *result)
{
	struct request req = { .vm = gmem->vm, .gmem = gmem, .start = offset };

	return start(&req, size, attributes, opts, result);
}

/* ---- Who is told ----------------------------------------------------------- */

/* Where @listener is, or how many there are. */
static size_t position(const struct gmem_vm *vm, const struct gmem_listener *listener)
{
	size_t i;

	for (i = 0; i < vm->nr_listeners && vm->listeners[i] != listener; i++)
		;

	return i;
}

API int gmem_add_listener(struct gmem_vm *vm, struct gmem_listener *listener)
{
	struct gmem_listener **listeners, known;
	int r = take_struct(&known, listener, sizeof(known));

	if (r)
		return r;
	if (!known.before_private || !known.after_shared)
		return -EINVAL;

	pthread_mutex_lock(&vm->lock);
	wait_for_conversions(vm);
	if (position(vm, listener) < vm->nr_listeners) {
		r = -EEXIST;
		goto out_unlock;
	}
	listeners = realloc(vm->listeners, (vm->nr_listeners + 1) * sizeof(*listeners));
	if (!listeners) {
		r = -ENOMEM;
		goto out_unlock;
	}
	vm->listeners = listeners;
	vm->listeners[vm->nr_listeners++] = listener;

out_unlock:
	pthread_mutex_unlock(&vm->lock);
	return r;
}

API int gmem_remove_listener(struct gmem_vm *vm, struct gmem_listener *listener)
{
	int r = -ENOENT;
	size_t i;

	pthread_mutex_lock(&vm->lock);
	wait_for_conversions(vm);
	i = position(vm, listener);
	if (i < vm->nr_listeners) {
		vm->nr_listeners--;
		memmove(vm->listeners + i, vm->listeners + i + 1,
			(vm->nr_listeners - i) * sizeof(*vm->listeners));
		r = 0;
	}
	pthread_mutex_unlock(&vm->lock);

	return r;
}
