// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What a request covers: its parts, those that change, and whether it is valid. */
#include <errno.h>

#include "internal.h"

uint64_t address_of(const struct request *req, const struct gmem_range *range)
{
	return req->gmem ? range->offset : range->gpa;
}

/* The binding of a memory that contains @gpa, or the first after it and before @end, or NULL. */
static const struct binding *next_memory(const struct gmem_vm *vm, uint64_t gpa, uint64_t end)
{
	const struct binding *b;

	while ((b = binding_at(vm, gpa)) && !b->gmem)
		gpa = b->gpa + b->size;

	return b && b->gpa < end ? b : NULL;
}

bool next_part(const struct request *req, uint64_t *at, struct gmem_range *part)
{
	const struct binding *b;
	uint64_t end = req->end;

	if (*at >= req->end)
		return false;

	*part = GMEM_INIT(struct gmem_range);
	part->gmem = req->gmem;
	part->offset = *at;
	part->gpa = GMEM_NO_GPA;
	if (req->gmem) {
		b = binding_of(req->gmem, *at, &end);
		if (b) {
			part->gpa = b->gpa + (*at - b->offset);
			if (b->offset + b->size < end)
				end = b->offset + b->size;
		}
	} else {
		b = next_memory(req->vm, *at, end);
		if (!b)
			return false;
		if (*at < b->gpa)
			*at = b->gpa;
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

bool next_change(const struct request *req, uint64_t *at, bool gaps, struct gmem_range *change)
{
	size_t page_size = req->vm->page_size;
	uint64_t began, page, start, end;
	bool found = false;

	pthread_mutex_lock(&req->vm->lock);
	while (!found && next_part(req, at, change)) {
		began = address_of(req, change);
		page = change->offset / page_size;
		end = page + change->size / page_size;
		start = states_find(&change->gmem->states, page, end, !req->to_private);
		if (start < end) {
			if (!gaps)
				end = states_find(&change->gmem->states, start, end,
						  req->to_private);
			*at = began + (end - page) * page_size;
			change->offset += (start - page) * page_size;
			if (change->gpa != GMEM_NO_GPA)
				change->gpa += (start - page) * page_size;
			change->size = (end - start) * page_size;
			change->attributes = req->to_private ? GMEM_SHARED : GMEM_PRIVATE;
			found = true;
		}
	}
	pthread_mutex_unlock(&req->vm->lock);

	return found;
}

int fail(struct request *req, enum gmem_step step, uint64_t where, int r)
{
	req->result.step = step;
	req->result.where = where;
	return r;
}

int check_request(const struct request *req, uint64_t size, uint64_t attributes)
{
	const struct gmem_vm *vm = req->vm;
	uint32_t policies = req->to_private ? vm->probe.to_private : vm->probe.to_shared;

	if (!size || size % vm->page_size || req->start % vm->page_size ||
	    req->end < req->start || (attributes & ~GMEM_PRIVATE) ||
	    (unsigned int)req->policy > GMEM_NONE ||
	    (req->opts.flags & ~(GMEM_NO_UNDO | GMEM_NO_DISCARD)))
		return -EINVAL;
	if (!(policies & GMEM_POLICY_BIT(req->policy)))
		return -EOPNOTSUPP;

	return req->gmem && req->end > req->gmem->size ? -EINVAL : 0;
}

int check_bindings(struct request *req)
{
	const struct binding *b;
	uint64_t at;

	/* As far as the library knows, everything that is not its memory is shared. */
	if (req->gmem || !req->to_private)
		return 0;

	for (at = req->start; at < req->end; at = b->gpa + b->size) {
		b = binding_at(req->vm, at);
		if (!b || at < b->gpa)
			return fail(req, GMEM_STEP_CHECK, at, -ENXIO);
		if (!b->gmem)
			return fail(req, GMEM_STEP_CHECK, at, -EPERM);
	}

	return 0;
}
