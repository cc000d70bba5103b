// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What is bound where in the guest: the list of bindings, and lookups.  Nothing here blocks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* How many bindings end at or before @gpa: the index at which one for it is, or belongs. */
static size_t position(const struct gmem_vm *vm, uint64_t gpa)
{
	size_t low = 0, high = vm->nr_bindings, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (vm->bindings[middle]->gpa + (vm->bindings[middle]->size - 1) < gpa)
			low = middle + 1;
		else
			high = middle;
	}

	return low;
}

const struct binding *binding_at(const struct gmem_vm *vm, uint64_t gpa)
{
	size_t i = position(vm, gpa);

	return i < vm->nr_bindings ? vm->bindings[i] : NULL;
}

const struct binding *binding_of(const struct gmem *gmem, uint64_t offset, uint64_t *end)
{
	const struct binding *b;

	for (b = gmem->bindings; b; b = b->next) {
		if (offset >= b->offset && offset - b->offset < b->size)
			return b;
		if (b->offset > offset && b->offset < *end)
			*end = b->offset;
	}

	return NULL;
}

/* A page of a memory is bound only once, so that it has one gpa. */
int binding_check(const struct gmem_vm *vm, const struct binding *new)
{
	const struct binding *b = binding_at(vm, new->gpa);
	size_t i;

	if (b && b->gpa < new->gpa + new->size)
		return -EEXIST;
	for (b = new->gmem ? new->gmem->bindings : NULL; b; b = b->next) {
		if (new->offset < b->offset + b->size && b->offset < new->offset + new->size)
			return -EEXIST;
	}
	for (i = 0; new->has_slot && i < vm->nr_bindings; i++) {
		if (vm->bindings[i]->has_slot && vm->bindings[i]->slot == new->slot)
			return -EEXIST;
	}

	return 0;
}

int binding_insert(struct gmem_vm *vm, const struct binding *new)
{
	size_t i = position(vm, new->gpa);
	struct binding **bindings, **at, *b = malloc(sizeof(*b));

	bindings = realloc(vm->bindings, (vm->nr_bindings + 1) * sizeof(*bindings));
	if (bindings)
		vm->bindings = bindings;
	if (!b || !bindings) {
		free(b);
		return -ENOMEM;
	}

	*b = *new;
	if (b->gmem) {
		for (at = &b->gmem->bindings; *at && (*at)->gpa < b->gpa; at = &(*at)->next)
			;
		b->next = *at;
		*at = b;
	}
	memmove(bindings + i + 1, bindings + i, (vm->nr_bindings - i) * sizeof(*bindings));
	bindings[i] = b;
	vm->nr_bindings++;
	return 0;
}

void binding_erase(struct gmem_vm *vm, uint64_t gpa)
{
	size_t i = position(vm, gpa);
	struct binding *b = vm->bindings[i], **at;

	if (b->gmem) {
		for (at = &b->gmem->bindings; *at != b; at = &(*at)->next)
			;
		*at = b->next;
	}
	free(b);
	vm->nr_bindings--;
	memmove(vm->bindings + i, vm->bindings + i + 1,
		(vm->nr_bindings - i) * sizeof(*vm->bindings));
}

void look(struct gmem *gmem, uint64_t offset, uint64_t end, uint64_t gpa,
	  struct gmem_range *range)
{
	size_t page_size = gmem->vm->page_size;
	uint64_t page = offset / page_size;
	bool is_private = states_is_private(&gmem->states, page);

	end = states_find(&gmem->states, page, end / page_size, !is_private) * page_size;
	*range = (struct gmem_range){
		.struct_size = sizeof(*range),
		.gmem = gmem,
		.offset = offset,
		.size = end - offset,
		.gpa = gpa,
		.attributes = is_private ? GMEM_PRIVATE : GMEM_SHARED,
	};
}

API int gmem_lookup(struct gmem *gmem, uint64_t offset, struct gmem_range *out)
{
	uint64_t end = gmem->size, gpa = GMEM_NO_GPA;
	struct gmem_range range;
	const struct binding *b;
	int r = check_struct(out);

	if (r)
		return r;
	if (offset >= gmem->size || offset % gmem->vm->page_size)
		return -EINVAL;

	pthread_mutex_lock(&gmem->vm->lock);
	b = binding_of(gmem, offset, &end);
	if (b) {
		end = b->offset + b->size;
		gpa = b->gpa + (offset - b->offset);
	}
	look(gmem, offset, end, gpa, &range);
	pthread_mutex_unlock(&gmem->vm->lock);

	give_struct(out, &range, sizeof(range));
	return 0;
}

API int gmem_lookup_gpa(struct gmem_vm *vm, uint64_t gpa, struct gmem_range *out)
{
	struct gmem_range range;
	const struct binding *b;
	int r = check_struct(out);

	if (r)
		return r;
	if (gpa % vm->page_size)
		return -EINVAL;

	pthread_mutex_lock(&vm->lock);
	b = binding_at(vm, gpa);
	if (!b || gpa < b->gpa)
		r = -ENXIO;
	else if (!b->gmem)
		r = -EPERM;
	else
		look(b->gmem, b->offset + (gpa - b->gpa), b->offset + b->size, gpa, &range);
	pthread_mutex_unlock(&vm->lock);

	if (!r)
		give_struct(out, &range, sizeof(range));
	return r;
}
