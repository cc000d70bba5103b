// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The library's states and the kernel's: compare them, or take the kernel's.  Both
 * functions have a turn, so that no conversion of this library runs meanwhile.
 */
#include <errno.h>

#include "internal.h"

int next_difference(struct gmem *gmem, uint64_t *at, struct gmem_range *difference)
{
	size_t page_size = gmem->vm->page_size;
	uint64_t offset, size, end;
	const struct binding *b;
	bool is_private;
	int r;

	while (*at < gmem->size) {
		r = get_attributes_in_place(gmem->private_fd, *at, &size, &is_private);
		if (r)
			return r;
		/* A file of the caller's may be larger than the memory. */
		if (!gmem->owns_files && size > gmem->size - *at)
			size = gmem->size - *at;
		/* The answer violates the interface. */
		if (!size || size % page_size || size > gmem->size - *at)
			return -EIO;

		end = *at + size;
		pthread_mutex_lock(&gmem->vm->lock);
		offset = page_size * states_find(&gmem->states, *at / page_size, end / page_size,
						 !is_private);
		*at = end;
		if (offset < end) {
			end = page_size * states_find(&gmem->states, offset / page_size,
						      end / page_size, is_private);
			b = binding_of(gmem, offset, &end);
			if (b && b->offset + b->size < end)
				end = b->offset + b->size;
			*difference = (struct gmem_range){
				.struct_size = sizeof(*difference),
				.gmem = gmem,
				.offset = offset,
				.size = end - offset,
				.gpa = b ? b->gpa + (offset - b->offset) : GMEM_NO_GPA,
				.attributes = is_private ? GMEM_PRIVATE : GMEM_SHARED,
			};
			*at = end;
		}
		pthread_mutex_unlock(&gmem->vm->lock);
		if (offset < end)
			return 1;
	}

	return 0;
}

void take_difference(const struct gmem_range *difference)
{
	struct gmem *gmem = difference->gmem;
	size_t page_size = gmem->vm->page_size;

	pthread_mutex_lock(&gmem->vm->lock);
	states_set(&gmem->states, difference->offset / page_size,
		   (difference->offset + difference->size) / page_size,
		   difference->attributes == GMEM_PRIVATE);
	pthread_mutex_unlock(&gmem->vm->lock);
}

/* With two backings the states are attributes of the VM, which KVM does not return. */
static bool can_ask(const struct gmem *gmem)
{
	return gmem->vm->probe.mechanism != GMEM_TWO_BACKINGS;
}

API int gmem_verify(struct gmem *gmem, struct gmem_range *first_difference)
{
	struct turn turn = { .gmem = gmem, .offset_end = gmem->size };
	struct gmem_vm *vm = gmem->vm;
	struct gmem_range difference;
	uint64_t at = 0;
	int r = first_difference ? check_struct(first_difference) : 0;

	if (r)
		return r;
	if (!can_ask(gmem))
		return -EOPNOTSUPP;

	take_turn(vm, &turn, NULL);
	pthread_mutex_unlock(&vm->lock);
	r = next_difference(gmem, &at, &difference);
	pthread_mutex_lock(&vm->lock);
	end_turn(vm, &turn);

	if (r > 0 && first_difference)
		give_struct(first_difference, &difference, sizeof(difference));
	return r;
}

/* Tell all listeners, even if some refuse; returns the first error. */
static int tell_difference(struct gmem_vm *vm, const struct gmem_range *difference)
{
	bool to_private = difference->attributes == GMEM_PRIVATE;
	struct gmem_range range = *difference;
	int r = 0, told;
	size_t i;

	/* As with a conversion, the old state. */
	range.attributes = to_private ? GMEM_SHARED : GMEM_PRIVATE;
	for (i = 0; i < vm->nr_listeners; i++) {
		told = tell(&vm->listeners[i], &range, to_private);
		if (!r)
			r = told;
	}

	return r;
}

API int gmem_rebuild(struct gmem *gmem)
{
	struct turn turn = { .gmem = gmem, .offset_end = gmem->size };
	struct gmem_vm *vm = gmem->vm;
	struct gmem_range difference;
	int r, told, refusal = 0;
	uint64_t at = 0;

	if (!can_ask(gmem))
		return -EOPNOTSUPP;

	take_turn(vm, &turn, NULL);
	pthread_mutex_unlock(&vm->lock);
	while ((r = next_difference(gmem, &at, &difference)) > 0) {
		told = tell_difference(vm, &difference);
		if (!refusal)
			refusal = told;
		take_difference(&difference);
	}
	pthread_mutex_lock(&vm->lock);
	end_turn(vm, &turn);

	return r ? r : refusal;
}
