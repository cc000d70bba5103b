// SPDX-License-Identifier: GPL-2.0
/*
 * Random calls, compared with a model that is slow and obvious: an array of pages, each
 * with its state, its byte and whether it is held.  After each call, the result, what the
 * kernel reports about its files, and the VM's counts are compared, and so are the bytes as
 * both sides read them.  A sequence that differs is shortened as far as possible and
 * printed.
 *
 * SEED= replays, OPS= is the number of calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "gmem_harness.h"
#include "gmem_util.h"

/*
 * Guest pages from GMEM_GPA: [0, 16) are file 0, [16, 20) nothing, [20, 36) the second half
 * of file 1, [36, 52) its first half.
 */
#define HOLE		16
#define UPPER		20
#define LOWER		36
#define END		52
#define HALF		16
#define NR_FILES	2

static const u64 file_pages[NR_FILES] = { GMEM_PAGES, 2 * HALF };

enum op_kind {
	FILE_CONVERT,
	VM_CONVERT,
	HOST_WRITE,
	GUEST_WRITE,
	PUNCH,
	ALLOCATE,
	PRE_FAULT,
	PIN,
	UNPIN,
	REMAP,
	NR_OP_KINDS,
};

static const char * const op_names[] = {
	"convert file", "convert VM", "host writes", "guest writes", "punch", "allocate",
	"pre-fault", "pin", "unpin", "remap",
};

/* @first is a page of the file, or of the guest for VM_CONVERT. */
struct op {
	enum op_kind kind;
	int file;
	u64 first;
	u64 nr;
	u64 attributes;
	u64 policy;
	u8 byte;
	bool look;
	/* Whether the guest takes part in a conversion. */
	bool takes_part;
};

struct page_model {
	bool in_file;
	bool is_private;
	bool is_held;
	/* In the page cache. */
	bool is_allocated;
	/*
	 * If GUEST_DECIDES: whether the guest has the page, has agreed to share it, or has
	 * lost it.
	 */
	bool is_guests;
	bool is_agreed;
	bool is_lost;
	u8 byte;
};

struct world {
	struct gmem_vm files[NR_FILES];
	struct page_model pages[END];
	int pins[END];
	/* What the kernel counts for each file, and what it should count for the VM. */
	int fdinfo[NR_FILES];
	u64 counts[NR_COUNTS];
	/* Have the model assume that NONE leaves zeros, to check that contents are compared. */
	bool is_wrong;
	char difference[160];
};

static u64 guest_page(int file, u64 page)
{
	if (!file)
		return page;

	return page < HALF ? LOWER + page : UPPER + page - HALF;
}

static void differ(struct world *w, const char *what, u64 page, long is, long should)
{
	if (!w->difference[0])
		snprintf(w->difference, sizeof(w->difference),
			 "%s of guest page %lu is %ld, should be %ld", what, page, is, should);
}

static void differ_in_count(struct world *w, const char *what, u64 is, u64 should)
{
	if (is != should && !w->difference[0])
		snprintf(w->difference, sizeof(w->difference), "%s is %lu, should be %lu", what,
			 is, should);
}

static void world_init(struct world *w)
{
	struct gmem_vm *a = &w->files[0], *b = &w->files[1];
	u64 i;

	gmem_vm_create(a, GMEM_PAGES, GMEM_IN_PLACE);
	*b = *a;
	b->nr_pages = 2 * HALF;
	b->fd = vm_create_guest_memfd(a->vm, 2 * HALF * PAGE_SIZE, GMEM_IN_PLACE);
	b->mem = kvm_mmap(2 * HALF * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd);
	vm_set_user_memory_region2(a->vm, GMEM_SLOT + 1, KVM_MEM_GUEST_MEMFD,
				   GMEM_GPA + UPPER * PAGE_SIZE, HALF * PAGE_SIZE,
				   b->mem + HALF * PAGE_SIZE, b->fd, HALF * PAGE_SIZE);
	vm_set_user_memory_region2(a->vm, GMEM_SLOT + 2, KVM_MEM_GUEST_MEMFD,
				   GMEM_GPA + LOWER * PAGE_SIZE, HALF * PAGE_SIZE,
				   b->mem, b->fd, 0);
	virt_map(a->vm, GMEM_GPA + UPPER * PAGE_SIZE, GMEM_GPA + UPPER * PAGE_SIZE, END - UPPER);

	memset(w->pages, 0, sizeof(w->pages));
	memset(w->counts, 0, sizeof(w->counts));
	for (i = 0; i < END; i++) {
		w->pages[i].in_file = i < HOLE || i >= UPPER;
		w->pins[i] = -1;
	}
	for (i = 0; i < NR_FILES; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", w->files[i].fd);
		w->fdinfo[i] = open(path, O_RDONLY);
		TEST_ASSERT(w->fdinfo[i] >= 0, "open(%s) failed", path);
	}
	w->difference[0] = 0;
}

static void world_exit(struct world *w)
{
	u64 i;

	for (i = 0; i < END; i++) {
		if (w->pins[i] >= 0)
			close(w->pins[i]);
	}
	for (i = 0; i < NR_FILES; i++)
		close(w->fdinfo[i]);
	kvm_munmap(w->files[1].mem, 2 * HALF * PAGE_SIZE);
	close(w->files[1].fd);
	gmem_vm_destroy(&w->files[0]);
}

/*
 * A guest that decides gets a page while it is private, which a held page cannot become,
 * and keeps it: if the file then loses the page, the guest has lost it.
 */
static bool guest_can_touch(struct page_model *model)
{
	return !model->is_lost &&
	       (!GUEST_DECIDES || model->is_private || model->is_guests || !model->is_held);
}

static void count_conversion(struct world *w, bool to_private, u64 nr_changed)
{
	if (!nr_changed)
		return;

	w->counts[to_private ? CONVERSIONS_TO_PRIVATE : CONVERSIONS_TO_SHARED]++;
	w->counts[to_private ? PAGES_TO_PRIVATE : PAGES_TO_SHARED] += nr_changed;
}

static void guest_has_touched(struct world *w, struct page_model *model)
{
	/* It gets a shared page as a private one, and then shares it. */
	if (GUEST_DECIDES && !model->is_private && !model->is_guests) {
		count_conversion(w, true, 1);
		count_conversion(w, false, 1);
	}
	if (!model->is_private)
		model->is_agreed = true;
	model->is_guests = true;
	model->is_allocated = true;
}

/* Reading allocates memory for holes, so not every call is followed by it. */
static void look_at(struct world *w, u64 page)
{
	struct page_model *model = &w->pages[page];
	int file = page >= UPPER, seen;
	struct gmem_vm *f = &w->files[file];
	u64 in_file = file ? (page + HALF - UPPER) % (2 * HALF) : page;

	if (!model->in_file)
		return;

	if (is_mappable(f, in_file) == model->is_private) {
		differ(w, "mappable", page, model->is_private, !model->is_private);
		return;
	}

	if (!model->is_private) {
		model->is_allocated = true;
		seen = host_read(f, in_file);
		if (seen != model->byte)
			differ(w, "the host's byte", page, seen, model->byte);
	}

	if (!guest_can_touch(model))
		return;
	seen = guest_read(f, page);
	guest_has_touched(w, model);
	if (seen != model->byte)
		differ(w, "the guest's byte", page, seen, model->byte);
}

static u64 counted(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : POISON;
}

/* What the kernel reports about a file without touching it: each stretch, and its totals. */
static void compare_with_kernel(struct world *w, int file)
{
	u64 nr = file_pages[file], nr_private = 0, nr_allocated = 0, page, next, size, attributes;
	char text[2048] = {};
	int r;

	for (page = 0; page < nr && !w->difference[0]; page = next) {
		bool is_private = w->pages[guest_page(file, page)].is_private;

		for (next = page + 1; next < nr; next++) {
			if (w->pages[guest_page(file, next)].is_private != is_private)
				break;
		}
		r = __gmem_get(w->files[file].fd, page * PAGE_SIZE, &size, &attributes);
		if (r)
			differ(w, "the getter's result", guest_page(file, page), r, 0);
		if (attributes != (is_private ? PRIVATE : SHARED))
			differ(w, "the kernel's attributes", guest_page(file, page), attributes,
			       is_private ? PRIVATE : SHARED);
		if (size != (next - page) * PAGE_SIZE)
			differ(w, "the kernel's stretch", guest_page(file, page), size,
			       (next - page) * PAGE_SIZE);
		nr_private += is_private ? next - page : 0;
	}
	for (page = 0; page < nr; page++)
		nr_allocated += w->pages[guest_page(file, page)].is_allocated;

	if (pread(w->fdinfo[file], text, sizeof(text) - 1, 0) <= 0)
		differ(w, "fdinfo", guest_page(file, 0), -errno, 0);
	differ_in_count(w, file ? "gmem-private of file 1" : "gmem-private of file 0",
			counted(text, "gmem-private:"), nr_private * PAGE_SIZE);
	differ_in_count(w, file ? "gmem-shared of file 1" : "gmem-shared of file 0",
			counted(text, "gmem-shared:"), (nr - nr_private) * PAGE_SIZE);
	differ_in_count(w, file ? "gmem-allocated of file 1" : "gmem-allocated of file 0",
			counted(text, "gmem-allocated:"), nr_allocated * PAGE_SIZE);
}

/* Pages are filled by whoever touches them first, which the model does not track. */
static void compare_counts(struct world *w)
{
	int i;

	for (i = 0; i < PAGES_FILLED; i++)
		differ_in_count(w, gmem_count_names[i], gmem_count(&w->files[0], i),
				w->counts[i]);
}

/* Whether the page has changed. */
static bool convert_model(struct world *w, u64 page, const struct op *op)
{
	struct page_model *model = &w->pages[page];
	bool to_private = op->attributes & PRIVATE;

	if (!model->in_file || model->is_private == to_private)
		return false;

	model->is_private = to_private;
	if (op->policy == NONE && w->is_wrong)
		model->byte = 0;
	else
		model->byte = expected(op->policy, model->byte);

	return true;
}

static void count_result(struct world *w, const struct op *op, int result, u64 nr_changed)
{
	switch (result) {
	case 0:
		count_conversion(w, op->attributes & PRIVATE, nr_changed);
		break;
	case -EAGAIN:
		w->counts[REFUSED_HELD]++;
		break;
	case -EOPNOTSUPP:
		w->counts[REFUSED_POLICY]++;
		break;
	case -EPERM:
		w->counts[REFUSED_CONSENT]++;
		break;
	}
}

/* How the page answers the conversion, 0 or an errno. */
static int refusal(struct world *w, u64 page, const struct op *op)
{
	struct page_model *model = &w->pages[page];
	bool to_private = op->attributes & PRIVATE;

	if (!model->in_file || model->is_private == to_private)
		return 0;
	if (to_private)
		return model->is_held ? -EAGAIN : 0;

	return GUEST_DECIDES && model->is_guests && !model->is_agreed ? -EPERM : 0;
}

/* Have the guest agree to share page @page before a conversion to shared. */
static void let_agree(struct world *w, u64 page, const struct op *op)
{
	if (op->attributes & PRIVATE || !op->takes_part || page >= END ||
	    !w->pages[page].is_private)
		return;

	guest_agrees(&w->files[0], page, 1);
	w->pages[page].is_agreed = w->pages[page].is_guests;
}

/* Have the guest take back the page after a conversion to private. */
static void let_take_back(struct world *w, u64 page, const struct op *op)
{
	if (!(op->attributes & PRIVATE) || !op->takes_part || page >= END ||
	    !w->pages[page].is_private)
		return;

	guest_takes_back(&w->files[0], page, 1);
	w->pages[page].is_agreed = false;
}

static void apply_file_convert(struct world *w, const struct op *op)
{
	u64 end = op->first + op->nr, nr_changed = 0, i, where, should_where = POISON;
	int r, should = 0;

	for (i = op->first; i < min(end, file_pages[op->file]); i++)
		let_agree(w, guest_page(op->file, i), op);
	r = __gmem_convert(w->files[op->file].fd, op->first * PAGE_SIZE, op->nr * PAGE_SIZE,
			   op->attributes, op->policy, &where);

	if (!op->nr || end > file_pages[op->file] || op->policy > NONE) {
		should = -EINVAL;
	} else if (!policy_works(op->attributes, op->policy)) {
		should = -EOPNOTSUPP;
		should_where = op->first * PAGE_SIZE;
	}
	for (i = op->first; !should && i < end; i++) {
		should = refusal(w, guest_page(op->file, i), op);
		if (should)
			should_where = i * PAGE_SIZE;
	}
	for (i = op->first; !should && i < end; i++)
		nr_changed += convert_model(w, guest_page(op->file, i), op);
	count_result(w, op, should, nr_changed);

	if (r != should)
		differ(w, "result", guest_page(op->file, op->first), r, should);
	if (where != should_where)
		differ(w, "error_offset", guest_page(op->file, op->first), where, should_where);
	for (i = op->first; !r && i < end; i++)
		let_take_back(w, guest_page(op->file, i), op);
}

static void apply_vm_convert(struct world *w, const struct op *op)
{
	u64 end = op->first + op->nr, nr_changed = 0, i, where, should_where = POISON;
	int r, should = 0;

	for (i = op->first; i < min_t(u64, end, END); i++)
		let_agree(w, i, op);
	r = __gmem_convert(w->files[0].vm->fd, GMEM_GPA + op->first * PAGE_SIZE,
			   op->nr * PAGE_SIZE, op->attributes, op->policy, &where);

	if (!op->nr || op->policy > NONE)
		should = -EINVAL;
	for (i = op->first; !should && i < end; i++) {
		bool in_file = i < END && w->pages[i].in_file;

		if (in_file ? !policy_works(op->attributes, op->policy) : op->policy != NONE) {
			should = -EOPNOTSUPP;
			should_where = GMEM_GPA + i * PAGE_SIZE;
		}
	}
	/* Outside of files it may be that no memory can be private. */
	for (i = op->first; !should && op->attributes & PRIVATE && i < end; i++) {
		if (!HAS_TWO_BACKINGS && (i >= END || !w->pages[i].in_file))
			should = -EINVAL;
	}
	for (i = op->first; !should && i < min_t(u64, end, END); i++) {
		should = refusal(w, i, op);
		if (should)
			should_where = GMEM_GPA + i * PAGE_SIZE;
	}
	for (i = op->first; !should && i < min_t(u64, end, END); i++)
		nr_changed += convert_model(w, i, op);
	count_result(w, op, should, nr_changed);

	if (r != should)
		differ(w, "result", op->first, r, should);
	if (where != should_where)
		differ(w, "error_offset", op->first, where, should_where);
	for (i = op->first; !r && i < min_t(u64, end, END); i++)
		let_take_back(w, i, op);
}

static void apply_punch(struct world *w, const struct op *op)
{
	u64 end = op->first + op->nr, i;
	int r;

	if (!op->nr)
		return;

	r = fallocate(w->files[op->file].fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
		      op->first * PAGE_SIZE, op->nr * PAGE_SIZE);
	if (r)
		differ(w, "punch", guest_page(op->file, op->first), -errno, 0);

	/* Whoever held the page still holds it, but it no longer belongs to the file. */
	for (i = op->first; i < min(end, file_pages[op->file]); i++) {
		struct page_model *model = &w->pages[guest_page(op->file, i)];

		model->byte = 0;
		model->is_held = false;
		model->is_allocated = false;
		if (model->is_guests && !LOST_PAGES_COME_BACK) {
			model->is_lost = true;
			model->is_guests = false;
		}
	}
}

static void apply_pin(struct world *w, const struct op *op, bool pin)
{
	struct gmem_vm *f = &w->files[op->file];
	u64 page = guest_page(op->file, op->first);
	int r;

	if (!pin && w->pins[page] >= 0) {
		close(w->pins[page]);
		w->pins[page] = -1;
		w->pages[page].is_held = false;
	}

	if (pin && w->pins[page] < 0) {
		r = pin_longterm(f->mem + op->first * PAGE_SIZE, &w->pins[page]);
		if (r != (w->pages[page].is_private ? -EFAULT : 0))
			differ(w, "pin", page, r, w->pages[page].is_private ? -EFAULT : 0);
		if (!r) {
			w->pages[page].is_held = true;
			w->pages[page].is_allocated = true;
		} else {
			close(w->pins[page]);
			w->pins[page] = -1;
		}
	}
}

static void apply(struct world *w, const struct op *op)
{
	struct gmem_vm *f = &w->files[op->file];
	u64 page = guest_page(op->file, op->first), i;
	struct kvm_pre_fault_memory range = {
		.gpa = GMEM_GPA + page * PAGE_SIZE,
		.size = PAGE_SIZE,
	};

	/* Only conversions are tried beyond the end as well. */
	if (op->kind != VM_CONVERT && op->kind != FILE_CONVERT &&
	    op->first >= file_pages[op->file])
		return;

	switch (op->kind) {
	case FILE_CONVERT:
		apply_file_convert(w, op);
		break;
	case VM_CONVERT:
		apply_vm_convert(w, op);
		break;
	case HOST_WRITE:
		if (w->pages[page].is_private)
			break;
		host_write(f, op->first, op->byte);
		w->pages[page].is_allocated = true;
		w->pages[page].byte = op->byte;
		break;
	case GUEST_WRITE:
		if (!guest_can_touch(&w->pages[page]))
			break;
		guest_write(f, page, op->byte);
		guest_has_touched(w, &w->pages[page]);
		w->pages[page].byte = op->byte;
		break;
	case PUNCH:
		apply_punch(w, op);
		break;
	case ALLOCATE:
		if (fallocate(f->fd, FALLOC_FL_KEEP_SIZE, op->first * PAGE_SIZE, PAGE_SIZE))
			differ(w, "allocate", page, -errno, 0);
		w->pages[page].is_allocated = true;
		break;
	case PRE_FAULT:
		if (!HAS_PRE_FAULT)
			break;
		if (__vcpu_ioctl(f->vcpu, KVM_PRE_FAULT_MEMORY, &range))
			differ(w, "pre-fault", page, -errno, 0);
		w->pages[page].is_allocated = true;
		break;
	case PIN:
	case UNPIN:
		apply_pin(w, op, op->kind == PIN);
		break;
	case REMAP:
		kvm_munmap(f->mem, f->nr_pages * PAGE_SIZE);
		if (mmap(f->mem, f->nr_pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, f->fd, 0) != f->mem)
			differ(w, "remap", page, -errno, 0);
		break;
	default:
		break;
	}

	for (i = 0; i < NR_FILES; i++)
		compare_with_kernel(w, i);
	compare_counts(w);
	if (!op->look)
		return;
	for (i = 0; i < END; i++)
		look_at(w, i);
}

static void make_ops(struct op *ops, u64 nr, u64 seed)
{
	u64 i;

	srandom(seed);
	for (i = 0; i < nr; i++) {
		u64 a = random(), b = random();
		struct op *op = &ops[i];
		u64 pages;

		/* Every second call is a conversion. */
		op->kind = a % 2 ? (a >> 1) % 2 : (a >> 1) % NR_OP_KINDS;
		op->file = (a >> 8) % NR_FILES;
		op->attributes = (a >> 9) % 2 ? PRIVATE : SHARED;
		op->policy = (a >> 10) % 32 ? (a >> 16) % 3 : 3;
		op->byte = 1 + random() % 0xa0;
		op->look = (b >> 20) % 8 == 0;
		op->takes_part = (b >> 23) % 2;
		pages = op->kind == VM_CONVERT ? END : file_pages[op->file];
		op->first = b % (pages + 1);
		op->nr = (b >> 8) % ((b >> 18) % 4 ? 8 : pages + 1);
	}
}

static void print_op(const struct op *op)
{
	printf("#   %-13s", op_names[op->kind]);
	if (op->kind != VM_CONVERT)
		printf(" file %d", op->file);
	printf(" pages [%lu, %lu)", op->first, op->first + op->nr);
	if (op->kind <= VM_CONVERT)
		printf(" to %s, policy %lu", op->attributes & PRIVATE ? "private" : "shared",
		       op->policy);
	if (op->kind == HOST_WRITE || op->kind == GUEST_WRITE)
		printf(" byte %#x", op->byte);
	puts(op->look ? ", look" : "");
}

/* What a run, which is a process of its own, reports. */
struct outcome {
	u64 nr_done;
	char difference[160];
};

static struct outcome run(const struct op *ops, u64 nr, bool is_wrong)
{
	struct outcome outcome = {};
	int fds[2], status;
	pid_t pid;

	TEST_ASSERT(!pipe(fds), "pipe() failed");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		struct world w = { .is_wrong = is_wrong };
		u64 i;

		/* If an assertion ends the run, this much is known. */
		world_init(&w);
		for (i = 0; i < nr && !w.difference[0]; i++)
			apply(&w, &ops[i]);
		for (nr = 0; nr < END && !w.difference[0]; nr++)
			look_at(&w, nr);
		outcome.nr_done = i;
		memcpy(outcome.difference, w.difference, sizeof(outcome.difference));
		if (write(fds[1], &outcome, sizeof(outcome)) != sizeof(outcome))
			_exit(1);
		world_exit(&w);
		_exit(0);
	}

	close(fds[1]);
	if (read(fds[0], &outcome, sizeof(outcome)) != sizeof(outcome)) {
		outcome.nr_done = nr;
		outcome.difference[0] = '?';
	}
	close(fds[0]);
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	/* A failure after all calls have been compared is also a difference. */
	if (status && !outcome.difference[0])
		snprintf(outcome.difference, sizeof(outcome.difference),
			 "the process ended with status %#x", status);

	return outcome;
}

/* Leave out calls that the difference does not need, in ever smaller pieces. */
static u64 shorten(struct op *ops, u64 nr, bool is_wrong)
{
	struct op *fewer = calloc(nr, sizeof(*fewer));
	int tries = 400;
	u64 size, first;

	for (size = nr / 2; size; size /= 2) {
		for (first = 0; first + size <= nr && tries; ) {
			u64 rest = nr - first - size;

			show_progress("calls are left", nr, 0);
			memcpy(fewer, ops, first * sizeof(*ops));
			memcpy(fewer + first, ops + first + size, rest * sizeof(*ops));
			tries--;
			if (run(fewer, nr - size, is_wrong).difference[0]) {
				nr -= size;
				memcpy(ops, fewer, nr * sizeof(*ops));
			} else {
				first += size;
			}
		}
	}

	free(fewer);
	return nr;
}

/* How many calls remain of a sequence that differs, 0 if it does not. */
static u64 compare(u64 seed, u64 nr, bool is_wrong)
{
	struct op *ops = calloc(nr, sizeof(*ops));
	struct outcome outcome;
	u64 i;

	make_ops(ops, nr, seed);
	outcome = run(ops, nr, is_wrong);
	nr = 0;
	if (outcome.difference[0]) {
		printf("# after %lu calls: %s\n", outcome.nr_done, outcome.difference);
		nr = shorten(ops, outcome.nr_done, is_wrong);
		outcome = run(ops, nr, is_wrong);
		printf("# the shortest sequence found: %s\n", outcome.difference);
		for (i = 0; i < nr; i++)
			print_op(&ops[i]);
	}

	free(ops);
	return nr;
}

/* The number of calls for which one VM is used. */
#define SEQUENCE	1000

FIXTURE(model) {
};

FIXTURE_SETUP(model)
{
	struct gmem_vm g;

	/* Skips if there is nothing to compare. */
	gmem_vm_create(&g, 1, GMEM_IN_PLACE);
	gmem_vm_destroy(&g);
}

FIXTURE_TEARDOWN(model)
{
}

TEST_F(model, random_calls_do_as_the_model_does)
{
	u64 seed = env_number("SEED", time(NULL)), nr = env_number("OPS", 10000), done;

	printf("# measured: %lu calls, replay with SEED=%lu\n", nr, seed);
	for (done = 0; done < nr; done += SEQUENCE, seed++) {
		show_progress("calls", done, nr);
		TEST_ASSERT(!compare(seed, min_t(u64, SEQUENCE, nr - done), false),
			    "Differs from the model: replay with SEED=%lu OPS=%d", seed, SEQUENCE);
	}
}

TEST_F(model, wrong_model_is_found_and_made_short)
{
	u64 nr = compare(1, SEQUENCE, true);

	TEST_ASSERT(nr && nr <= 3, "%lu calls are left of a sequence that needs one", nr);
}

TEST_HARNESS_MAIN
