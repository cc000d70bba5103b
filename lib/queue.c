// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The queue of requests, and how long one waits in it.  Every call that changes pages,
 * bindings or listeners takes a turn.  Turns that touch the same range are served in the
 * order in which they came; others run concurrently.
 */
#include <errno.h>
#include <time.h>

#include "internal.h"

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

struct patience patience_of(uint32_t timeout_ms, const uint32_t *cancel)
{
	return (struct patience){
		.until_ms = timeout_ms ? now_ms() + timeout_ms : FOREVER,
		.cancel = cancel,
	};
}

/* 0: something may have changed, -ETIMEDOUT, -ECANCELED.  @lock is held. */
static int wait_for_change(struct gmem_vm *vm, const struct patience *patience)
{
	struct timespec until;

	/* Set under @lock, so nobody falls asleep after that. */
	if (patience->cancel && __atomic_load_n(patience->cancel, __ATOMIC_RELAXED))
		return -ECANCELED;
	if (patience->until_ms == FOREVER) {
		pthread_cond_wait(&vm->changed, &vm->lock);
		return 0;
	}
	if (now_ms() >= patience->until_ms)
		return -ETIMEDOUT;

	until = (struct timespec){
		.tv_sec = patience->until_ms / 1000,
		.tv_nsec = patience->until_ms % 1000 * 1000000,
	};
	pthread_cond_timedwait(&vm->changed, &vm->lock, &until);
	return 0;
}

int sleep_until(struct gmem_vm *vm, uint64_t until_ms, const uint32_t *cancel)
{
	const struct patience patience = { .until_ms = until_ms, .cancel = cancel };
	int r;

	pthread_mutex_lock(&vm->lock);
	do
		r = wait_for_change(vm, &patience);
	while (!r);
	pthread_mutex_unlock(&vm->lock);

	return r == -ETIMEDOUT ? 0 : r;
}

static bool meet(uint64_t start, uint64_t end, uint64_t other_start, uint64_t other_end)
{
	return start < other_end && other_start < end;
}

/* Is any of @offsets bound in the guest physical addresses of @gpas? */
static bool is_bound_in(const struct gmem_vm *vm, const struct turn *gpas,
			const struct turn *offsets)
{
	const struct binding *b;
	uint64_t start, end;

	if (!offsets->gmem || gpas->gpa == gpas->gpa_end)
		return false;

	for (b = binding_at(vm, gpas->gpa); b && b->gpa < gpas->gpa_end;
	     b = binding_at(vm, b->gpa + b->size)) {
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

int take_turn(struct gmem_vm *vm, struct turn *turn, const struct patience *patience)
{
	const struct patience endless = { .until_ms = FOREVER };
	struct turn **at;
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	for (at = &vm->turns; *at; at = &(*at)->next)
		;
	turn->next = NULL;
	*at = turn;
	while (!r && must_wait(vm, turn))
		r = wait_for_change(vm, patience ? patience : &endless);
	if (r)
		end_turn(vm, turn);

	return r;
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

API void gmem_cancel(struct gmem_vm *vm, uint32_t *cancel)
{
	pthread_mutex_lock(&vm->lock);
	__atomic_store_n(cancel, 1, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}
