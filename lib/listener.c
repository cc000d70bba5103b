// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Listeners are told what a conversion changes and, if they ask for it, what is bound and
 * shared when they or a binding come and go.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* The ranges that one listener is told of together. */
struct batch {
	struct listening *to;
	bool to_private;
	bool has_begun;
};

static int answer(int r)
{
	return r > 0 ? -ECANCELED : r;
}

static int batch_tell(struct batch *batch, const struct gmem_range *range)
{
	struct gmem_listener *l = &batch->to->known;
	int r = 0;

	if ((l->flags & GMEM_LISTENER_REPLAY) && range->gpa == GMEM_NO_GPA)
		return 0;

	if (!batch->has_begun && l->begin)
		r = l->begin(batch->to->caller, batch->to_private ? GMEM_PRIVATE : GMEM_SHARED);
	if (r)
		return answer(r);
	batch->has_begun = true;

	return answer(batch->to_private ? l->before_private(batch->to->caller, range) :
					  l->after_shared(batch->to->caller, range));
}

static int batch_commit(struct batch *batch)
{
	struct gmem_listener *l = &batch->to->known;

	return batch->has_begun && l->commit ? answer(l->commit(batch->to->caller)) : 0;
}

int tell(struct listening *to, const struct gmem_range *range, bool to_private)
{
	struct batch batch = { .to = to, .to_private = to_private };
	int r = batch_tell(&batch, range);

	return r ? r : batch_commit(&batch);
}

/* ---- What a conversion changes --------------------------------------------- */

static int tell_changes(struct request *req, struct listening *to)
{
	struct batch batch = { .to = to, .to_private = req->to_private };
	bool gaps = req->to_private && (to->known.flags & GMEM_LISTENER_GAPS);
	uint64_t at = req->start, first = at, where = at;
	struct gmem_range range;
	int r = 0;

	while (!r && next_change(req, &at, gaps, &range)) {
		where = address_of(req, &range);
		if (!batch.has_begun)
			first = where;
		r = batch_tell(&batch, &range);
		if (!r)
			req->told_until = at;
	}
	if (!r) {
		where = first;
		r = batch_commit(&batch);
	}
	if (!r)
		return 0;

	/* Then it has taken nothing. */
	if (to->known.commit)
		req->told_until = req->start;
	return fail(req, req->to_private ? GMEM_STEP_BEFORE_PRIVATE : GMEM_STEP_AFTER_SHARED,
		    where, r);
}

int tell_all(struct request *req)
{
	struct gmem_vm *vm = req->vm;
	int r;

	for (; req->nr_told < vm->nr_listeners; req->nr_told++) {
		req->told_until = req->start;
		r = tell_changes(req, &vm->listeners[req->nr_told]);
		if (r)
			return r;
	}
	req->told_until = req->start;

	return 0;
}

/* ---- What is bound and shared ----------------------------------------------- */

/* The next range of shared pages in one binding, from *@gpa on; *@gpa is moved to its end. */
static bool next_shared(struct gmem_vm *vm, uint64_t *gpa, uint64_t end, struct gmem_range *range)
{
	const struct binding *b;
	bool found = false;

	pthread_mutex_lock(&vm->lock);
	while (!found && *gpa < end && (b = binding_at(vm, *gpa)) && b->gpa < end) {
		if (*gpa < b->gpa)
			*gpa = b->gpa;
		if (!b->gmem) {
			*gpa = b->gpa + b->size;
			continue;
		}
		look(b->gmem, b->offset + (*gpa - b->gpa), b->offset + b->size, *gpa, range);
		*gpa += range->size;
		found = range->attributes == GMEM_SHARED;
	}
	pthread_mutex_unlock(&vm->lock);

	return found;
}

/*
 * Tell @to what is shared in [@start, @end): to take hold of it, or to let go.  Returns the
 * first error; *@until is then how far it agreed.  With @go_on, continue all the same.
 */
static int tell_shared(struct gmem_vm *vm, struct listening *to, uint64_t start, uint64_t end,
		       bool let_go, bool go_on, uint64_t *until)
{
	struct batch batch = { .to = to, .to_private = let_go };
	struct gmem_range range;
	uint64_t gpa = start;
	int r = 0, told;

	*until = start;
	if (!(to->known.flags & GMEM_LISTENER_REPLAY))
		return 0;
	while ((!r || go_on) && next_shared(vm, &gpa, end, &range)) {
		told = batch_tell(&batch, &range);
		if (!r && !told)
			*until = gpa;
		/* A range that was refused is not part of what follows. */
		if (told)
			batch.has_begun = false;
		if (!r)
			r = told;
	}
	if (!r || go_on) {
		told = batch_commit(&batch);
		if (!r)
			r = told;
	}
	if (r && to->known.commit)
		*until = start;

	return r;
}

int tell_binding(struct gmem_vm *vm, uint64_t gpa, uint64_t size, bool let_go, bool go_on)
{
	uint64_t end = gpa + size, until, unused;
	int r = 0, told;
	size_t i;

	for (i = 0; i < vm->nr_listeners && (!r || go_on); i++) {
		told = tell_shared(vm, &vm->listeners[i], gpa, end, let_go, go_on, &until);
		if (!r)
			r = told;
	}
	if (!r || go_on)
		return r;

	/* The last one has agreed up to @until, those before it to all. */
	for (; i > 0; i--, until = end)
		tell_shared(vm, &vm->listeners[i - 1], gpa, until, !let_go, true, &unused);
	return r;
}

/* ---- The list --------------------------------------------------------------- */

/* Where @listener is, or how many there are. */
static size_t position(const struct gmem_vm *vm, const struct gmem_listener *listener)
{
	size_t i;

	for (i = 0; i < vm->nr_listeners && vm->listeners[i].caller != listener; i++)
		;

	return i;
}

/* @lock is held. */
static int insert(struct gmem_vm *vm, const struct listening *new)
{
	struct listening *listeners;

	if (position(vm, new->caller) < vm->nr_listeners)
		return -EEXIST;

	listeners = realloc(vm->listeners, (vm->nr_listeners + 1) * sizeof(*listeners));
	if (!listeners)
		return -ENOMEM;
	vm->listeners = listeners;
	listeners[vm->nr_listeners++] = *new;
	return 0;
}

/* @lock is held. */
static void erase(struct gmem_vm *vm, size_t i)
{
	vm->nr_listeners--;
	memmove(vm->listeners + i, vm->listeners + i + 1,
		(vm->nr_listeners - i) * sizeof(*vm->listeners));
}

API int gmem_add_listener(struct gmem_vm *vm, struct gmem_listener *listener)
{
	struct listening new = { .caller = listener };
	struct turn turn = { .all = true };
	uint64_t until, unused;
	int r = take_struct(&new.known, listener, sizeof(new.known));

	if (r)
		return r;
	if (!new.known.before_private || !new.known.after_shared ||
	    (new.known.flags & ~(GMEM_LISTENER_REPLAY | GMEM_LISTENER_GAPS)))
		return -EINVAL;

	take_turn(vm, &turn, NULL);
	r = insert(vm, &new);
	if (!r) {
		pthread_mutex_unlock(&vm->lock);
		r = tell_shared(vm, &new, 0, GMEM_NO_GPA, false, false, &until);
		if (r)
			tell_shared(vm, &new, 0, until, true, true, &unused);
		pthread_mutex_lock(&vm->lock);
		if (r)
			erase(vm, position(vm, listener));
	}
	end_turn(vm, &turn);

	return r;
}

API int gmem_remove_listener(struct gmem_vm *vm, struct gmem_listener *listener)
{
	struct turn turn = { .all = true };
	uint64_t unused;
	int r = -ENOENT;
	size_t i;

	take_turn(vm, &turn, NULL);
	i = position(vm, listener);
	if (i < vm->nr_listeners) {
		pthread_mutex_unlock(&vm->lock);
		r = tell_shared(vm, &vm->listeners[i], 0, GMEM_NO_GPA, true, true, &unused);
		pthread_mutex_lock(&vm->lock);
		erase(vm, i);
	}
	end_turn(vm, &turn);

	return r;
}
