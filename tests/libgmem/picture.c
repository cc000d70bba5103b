// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "picture.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * What a thread has told since begin().  One listener is told everything before the
 * next one is, so a thread is in one batch at most.
 */
static _Thread_local struct {
	struct picture *of;
	bool to_private;
	uint64_t pages;
} batch;

static void __attribute__((format(printf, 2, 3))) note(struct picture *p, const char *format, ...)
{
	char word[32];
	va_list list;

	va_start(list, format);
	vsnprintf(word, sizeof(word), format, list);
	va_end(list);

	pthread_mutex_lock(&p->lock);
	if (strlen(p->told) + strlen(word) + 2 < sizeof(p->told)) {
		if (p->told[0])
			strcat(p->told, " ");
		strcat(p->told, word);
	}
	pthread_mutex_unlock(&p->lock);
}

static void __attribute__((format(printf, 2, 3))) wrong(struct picture *p, const char *format, ...)
{
	va_list list;

	pthread_mutex_lock(&p->lock);
	va_start(list, format);
	if (!p->wrong[0])
		vsnprintf(p->wrong, sizeof(p->wrong), format, list);
	va_end(list);
	pthread_mutex_unlock(&p->lock);
}

static int refusal(struct picture *p)
{
	return p->nr_refused++ ? -EIO : p->error;
}

/* Undo what it has taken or let go of in this batch. */
static void roll_back(struct picture *p)
{
	unsigned int page;

	for (page = 0; page < FAKE_PAGES; page++) {
		if (batch.pages & PAGES(page, 1))
			p->holds[page] = batch.to_private;
	}
	batch.of = NULL;
}

static int begin(struct gmem_listener *listener, uint64_t attributes)
{
	struct picture *p = (struct picture *)listener;
	bool to_private = attributes == GMEM_PRIVATE;

	note(p, p->refuse_begin[to_private] ? "(!" : "(");
	if (batch.of)
		wrong(p, "begins within a batch");
	if (attributes & ~GMEM_PRIVATE)
		wrong(p, "begins with no attributes");
	if (p->refuse_begin[to_private])
		return refusal(p);
	if (!p->listener.commit)
		return 0;

	batch.of = p;
	batch.to_private = to_private;
	batch.pages = 0;
	return 0;
}

static int commit(struct gmem_listener *listener)
{
	struct picture *p = (struct picture *)listener;

	note(p, p->refuse_commit[batch.to_private] ? ")!" : ")");
	if (batch.of != p) {
		wrong(p, "commits what did not begin, or has ended");
		return 0;
	}
	if (p->refuse_commit[batch.to_private]) {
		roll_back(p);
		return refusal(p);
	}
	batch.of = NULL;

	return 0;
}

static void take_or_let_go(struct picture *p, unsigned int page, bool let_go, bool first)
{
	bool gap = p->listener.flags & GMEM_LISTENER_GAPS && let_go && !first;

	if (p->holds[page] != let_go && !gap)
		wrong(p, "page %u: %s", page, let_go ? "does not hold it" : "taken twice");
	if (p->holds[page] != let_go)
		return;
	p->holds[page] = !let_go;
	batch.pages |= PAGES(page, 1);
}

static int tell(struct picture *p, const struct gmem_range *range, bool let_go)
{
	uint64_t page = (range->gpa - FAKE_GPA) / PAGE, nr = range->size / PAGE, at;
	uint64_t refused = let_go ? p->refuse_private : p->refuse_shared;
	struct gmem_range found = GMEM_INIT(struct gmem_range);

	if (p->listener.begin && p->listener.commit &&
	    (batch.of != p || batch.to_private != let_go)) {
		wrong(p, "told of page %u outside of a batch", (unsigned int)page);
		batch.of = NULL;
	}
	if (range->gpa == GMEM_NO_GPA) {
		note(p, "%c-+%u", let_go ? 'P' : 'S', (unsigned int)nr);
		if (p->listener.flags & GMEM_LISTENER_REPLAY)
			wrong(p, "told of memory that is not bound");
		return 0;
	}
	if (!nr || page + nr > FAKE_PAGES) {
		wrong(p, "told of %u pages from %u on", (unsigned int)nr, (unsigned int)page);
		return 0;
	}
	if (gmem_lookup_gpa(p->vm, range->gpa, &found) || found.gmem != range->gmem ||
	    found.offset != range->offset)
		wrong(p, "page %u: not what is bound there", (unsigned int)page);

	refused &= PAGES(page, nr);
	note(p, "%c%u+%u%s", let_go ? 'P' : 'S', (unsigned int)page, (unsigned int)nr,
	     refused ? "!" : "");
	if (refused) {
		if (batch.of == p)
			roll_back(p);
		return refusal(p);
	}
	for (at = page; at < page + nr; at++)
		take_or_let_go(p, at, let_go, at == page);

	return 0;
}

static int before_private(struct gmem_listener *listener, const struct gmem_range *range)
{
	return tell((struct picture *)listener, range, true);
}

static int after_shared(struct gmem_listener *listener, const struct gmem_range *range)
{
	return tell((struct picture *)listener, range, false);
}

void picture_init(struct picture *p, struct gmem_vm *vm, uint64_t flags, bool batches)
{
	*p = (struct picture){
		.listener = {
			.struct_size = sizeof(p->listener),
			.before_private = before_private,
			.after_shared = after_shared,
			.flags = flags,
			.begin = batches ? begin : NULL,
			.commit = batches ? commit : NULL,
		},
		.vm = vm,
		.error = -EBUSY,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	/* A case that failed may have left one. */
	batch.of = NULL;
}

const char *picture_told(struct picture *p)
{
	static char told[sizeof(p->told)];

	pthread_mutex_lock(&p->lock);
	strcpy(told, p->wrong[0] ? p->wrong : p->told);
	p->told[0] = '\0';
	pthread_mutex_unlock(&p->lock);

	return told;
}

static bool kernel_has_private(struct gmem_vm *vm, const struct gmem_range *range)
{
	if (gmem_vm_probe(vm)->mechanism == GMEM_TWO_BACKINGS)
		return fake.vm_private[(range->gpa - FAKE_GPA) / PAGE];
	return fake_file(gmem_private_fd(range->gmem))->is_private[range->offset / PAGE];
}

const char *picture_check_but(struct picture *p, uint64_t but)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	unsigned int page;
	bool shared, wanted;

	for (page = 0; page < FAKE_PAGES; page++) {
		shared = false;
		if (!gmem_lookup_gpa(p->vm, FAKE_GPA + page * PAGE, &range)) {
			shared = range.attributes == GMEM_SHARED;
			if (kernel_has_private(p->vm, &range) == shared)
				wrong(p, "page %u: the kernel disagrees", page);
		}
		wanted = shared ^ !!(but & PAGES(page, 1));
		if (p->holds[page] != wanted)
			wrong(p, "page %u: %s", page, wanted ? "holds it not" : "holds it");
	}

	return p->wrong;
}
