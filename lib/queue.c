// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Who waits for whom.  What changes pages, bindings or listeners takes a turn.  Turns
 * that touch the same are served in the order in which they came; others run side by side.
 */
#include "internal.h"

static bool meet(uint64_t start, uint64_t end, uint64_t other_start, uint64_t other_end)
{
	return start < other_end && other_start < end;
}

/* Is any of @offsets bound in the guest physical addresses of @gpas? */
static bool is_bound_in(const struct gmem_vm *vm, const struct turn *gpas,
			const struct turn *offsets)
{
	const struct binding *b, *last = vm->bindings + vm->nr_bindings;
	uint64_t start, end;

	if (!offsets->gmem || gpas->gpa == gpas->gpa_end)
		return false;

	for (b = binding_at(vm, gpas->gpa); b && b < last && b->gpa < gpas->gpa_end; b++) {
		if (b->gmem != offsets->gmem)
			continue;
		start = b->gpa < gpas->gpa ? gpas->gpa - b->gpa : 0;
		end = gpas->gpa_end - b->gpa < b->size ? gpas->gpa_end - b->gpa : b->size;
		if (meet(b->offset + start, b->offset + end, offsets->offset, offsets->offset_end))
			return true;
	}

	return false;
}

static bool overlap(const struct gmem_vm *vm, const struct turn *a, const struct turn *b)
{
	if (a->all || b->all || meet(a->gpa, a->gpa_end, b->gpa, b->gpa_end))
		return true;
	if (a->gmem && a->gmem == b->gmem &&
	    meet(a->offset, a->offset_end, b->offset, b->offset_end))
		return true;

	return is_bound_in(vm, a, b) || is_bound_in(vm, b, a);
}

static bool must_wait(const struct gmem_vm *vm, const struct turn *turn)
{
	const struct turn *earlier;

	for (earlier = vm->turns; earlier != turn; earlier = earlier->next) {
		if (overlap(vm, earlier, turn))
			return true;
	}

	return false;
}

void take_turn(struct gmem_vm *vm, struct turn *turn)
{
	struct turn **at;

	pthread_mutex_lock(&vm->lock);
	for (at = &vm->turns; *at; at = &(*at)->next)
		;
	turn->next = NULL;
	*at = turn;
	while (must_wait(vm, turn))
		pthread_cond_wait(&vm->changed, &vm->lock);
}

void end_turn(struct gmem_vm *vm, struct turn *turn)
{
	struct turn **at;

	for (at = &vm->turns; *at != turn; at = &(*at)->next)
		;
	*at = turn->next;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}
