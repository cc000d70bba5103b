// SPDX-License-Identifier: GPL-2.0
/*
 * What the tests of in-place conversion share.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "../../../../../mm/gup_test.h"
#include "gmem_util.h"

/* Bits of an entry of pagemap. */
#define PAGEMAP_PRESENT	BIT_ULL(63)

int page_byte(const u8 *page)
{
	size_t i;

	for (i = 1; i < PAGE_SIZE; i++) {
		if (READ_ONCE(page[i]) != READ_ONCE(page[0]))
			return MIXED;
	}

	return READ_ONCE(page[0]);
}

int host_read(struct gmem_vm *g, u64 page)
{
	return page_byte(g->mem + page * PAGE_SIZE);
}

void host_write(struct gmem_vm *g, u64 page, u8 byte)
{
	memset(g->mem + page * PAGE_SIZE, byte, PAGE_SIZE);
}

void require_in_place(struct kvm_vm *vm)
{
	/* With STRICT=1 the tests run and fail, to show that they fail without what they test. */
	if (!vm_check_cap(vm, KVM_CAP_MEMORY_ATTRIBUTES2) && !env_number("STRICT", 0)) {
		printf("# no in-place conversion on this kernel\n");
		exit(KSFT_SKIP);
	}
}

void gmem_vm_create_vcpus(struct gmem_vm *g, u64 nr_pages, u64 flags, int nr_vcpus,
			  struct kvm_vcpu *vcpus[])
{
	u64 size = nr_pages * PAGE_SIZE;

	*g = (struct gmem_vm){ .nr_pages = nr_pages };
	guest_create(g, nr_vcpus, vcpus);
	g->vcpu = vcpus[0];
	require_in_place(g->vm);

	g->fd = vm_create_guest_memfd(g->vm, size, flags);
	g->mem = kvm_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA,
				   size, g->mem, g->fd, 0);
	virt_map(g->vm, GMEM_GPA, GMEM_GPA, min_t(u64, nr_pages, 1024));
}

void gmem_vm_create(struct gmem_vm *g, u64 nr_pages, u64 flags)
{
	struct kvm_vcpu *vcpu;

	gmem_vm_create_vcpus(g, nr_pages, flags, 1, &vcpu);
}

void gmem_vm_destroy(struct gmem_vm *g)
{
	kvm_munmap(g->mem, g->nr_pages * PAGE_SIZE);
	close(g->fd);
	guest_destroy(g);
}

int __gmem_convert(int fd, u64 offset, u64 size, u64 attributes, u64 policy,
		   u64 *where)
{
	struct kvm_memory_attributes2 attrs = {
		.offset = offset,
		.size = size,
		.attributes = attributes,
		.flags = policy,
		.error_offset = POISON,
	};
	int r = ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs) ? -errno : 0;

	if (where)
		*where = attrs.error_offset;

	return r;
}

void gmem_convert(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy)
{
	u64 where;
	int r;

	if (!(attributes & PRIVATE))
		guest_agrees(g, g->guest_page + page, nr);

	r = __gmem_convert(g->fd, page * PAGE_SIZE, nr * PAGE_SIZE, attributes,
			   policy, &where);
	TEST_ASSERT(!r, "Conversion of pages [%lu, %lu) failed: %s, error_offset %#lx",
		    page, page + nr, strerror(-r), where);
	TEST_ASSERT(where == POISON, "error_offset was written on success");

	if (attributes & PRIVATE)
		guest_takes_back(g, g->guest_page + page, nr);
}

int try_convert(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy, u64 *where)
{
	int r = __gmem_convert(g->fd, page * PAGE_SIZE, nr * PAGE_SIZE, attributes, policy, where);

	if (where && *where != POISON)
		*where /= PAGE_SIZE;

	return r;
}

int try_convert_gpa(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy, u64 *where)
{
	int r = __gmem_convert(g->vm->fd, GMEM_GPA + page * PAGE_SIZE, nr * PAGE_SIZE, attributes,
			       policy, where);

	if (where && *where != POISON)
		*where = (*where - GMEM_GPA) / PAGE_SIZE;

	return r;
}

void bind_other(struct gmem_vm *g, struct gmem_vm *other, u64 nr_pages, u64 page, u32 slot)
{
	const u64 half = nr_pages / 2 * PAGE_SIZE, gpa = GMEM_GPA + page * PAGE_SIZE;

	*other = *g;
	other->nr_pages = nr_pages;
	other->fd = vm_create_guest_memfd(g->vm, 2 * half, GMEM_IN_PLACE);
	other->mem = kvm_mmap(2 * half, PROT_READ | PROT_WRITE, MAP_SHARED, other->fd);
	vm_set_user_memory_region2(g->vm, slot, KVM_MEM_GUEST_MEMFD, gpa, half,
				   other->mem + half, other->fd, half);
	vm_set_user_memory_region2(g->vm, slot + 1, KVM_MEM_GUEST_MEMFD, gpa + half, half,
				   other->mem, other->fd, 0);
	virt_map(g->vm, gpa, gpa, nr_pages);
}

void close_other(struct gmem_vm *other)
{
	kvm_munmap(other->mem, other->nr_pages * PAGE_SIZE);
	close(other->fd);
}

int gmem_file_create(struct gmem_vm *g, u64 nr_pages)
{
	return vm_create_guest_memfd(g->vm, nr_pages * PAGE_SIZE, GMEM_IN_PLACE);
}

void gmem_file_convert(int fd, u64 page, u64 nr, u64 attributes)
{
	u64 where;
	int r;

	r = __gmem_convert(fd, page * PAGE_SIZE, nr * PAGE_SIZE, attributes,
			   attributes & PRIVATE ? ANY_TO_PRIVATE : ZERO, &where);
	TEST_ASSERT(!r, "Conversion of pages [%lu, %lu) failed: %s at %#lx", page, page + nr,
		    strerror(-r), where);
}

int __gmem_get(int fd, u64 offset, u64 *size, u64 *attributes)
{
	struct kvm_memory_attributes2_range range = {
		.offset = offset,
		.size = POISON,
		.attributes = POISON,
	};
	int r = ioctl(fd, KVM_GET_MEMORY_ATTRIBUTES2, &range) ? -errno : 0;

	TEST_ASSERT(range.offset == offset, "The requested offset was overwritten");
	if (size)
		*size = range.size;
	if (attributes)
		*attributes = range.attributes;

	return r;
}

long fdinfo_number(int fd, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return read_number(path, name);
}

const char * const gmem_count_names[NR_COUNTS] = {
	"gmem_conversions_to_private", "gmem_conversions_to_shared", "gmem_pages_to_private",
	"gmem_pages_to_shared", "gmem_refused_held", "gmem_refused_poison",
	"gmem_refused_memory", "gmem_refused_policy", "gmem_refused_consent",
	"gmem_pages_filled",
};

u64 gmem_count(struct gmem_vm *g, enum gmem_count which)
{
	u64 value = POISON;

	kvm_get_stat(&g->vm->stats, gmem_count_names[which], &value, 1);
	return value;
}

void punch_hole(struct gmem_vm *g, u64 page, u64 nr)
{
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
		      page * PAGE_SIZE, nr * PAGE_SIZE);
}

static sigjmp_buf sigbus_jmpbuf;

static void sigbus_handler(int sig)
{
	siglongjmp(sigbus_jmpbuf, 1);
}

bool is_mappable(struct gmem_vm *g, u64 page)
{
	struct sigaction old, new = { .sa_handler = sigbus_handler };
	volatile bool mappable = false;

	sigaction(SIGBUS, &new, &old);
	if (!sigsetjmp(sigbus_jmpbuf, 1)) {
		READ_ONCE(g->mem[page * PAGE_SIZE]);
		mappable = true;
	}
	sigaction(SIGBUS, &old, NULL);

	return mappable;
}

/* Backwards, so that no result can stem from a fault on the previous page. */
void expect_state(struct gmem_vm *g, u64 page, u64 nr, u64 attributes)
{
	u64 i;

	for (i = page + nr; i-- > page; )
		TEST_ASSERT(is_mappable(g, i) == !(attributes & PRIVATE),
			    "Page %lu should be %s", i,
			    attributes & PRIVATE ? "private" : "shared");
}

void write_letters(struct gmem_vm *g)
{
	u64 i;

	for (i = 0; i < g->nr_pages; i++)
		host_write(g, i, letter(i));
}

void expect_letters_and_no_holder(struct gmem_vm *g)
{
	u64 i;

	gmem_convert(g, 0, g->nr_pages, PRIVATE, PRESERVE);
	for (i = 0; i < g->nr_pages; i++)
		TEST_ASSERT_EQ(guest_read(g, i), letter(i));
	gmem_convert(g, 0, g->nr_pages, SHARED, PRESERVE);
	for (i = 0; i < g->nr_pages; i++)
		TEST_ASSERT_EQ(host_read(g, i), letter(i));
}

static u64 pagemap_entry(void *hva)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	u64 entry;

	TEST_ASSERT(fd >= 0, "open(/proc/self/pagemap) failed");
	TEST_ASSERT_EQ(pread(fd, &entry, sizeof(entry), (u64)hva / PAGE_SIZE * sizeof(entry)),
		       sizeof(entry));
	close(fd);

	return entry;
}

bool is_mapped(void *hva)
{
	return pagemap_entry(hva) & PAGEMAP_PRESENT;
}

u64 mapped_pfn(void *hva)
{
	u64 entry = pagemap_entry(hva);

	return entry & PAGEMAP_PRESENT ? entry & GENMASK(54, 0) : 0;
}

u64 pfn_of(struct gmem_vm *g, u64 page)
{
	u8 *hva = g->mem + page * PAGE_SIZE;
	u64 pfn;

	READ_ONCE(*hva);
	pfn = mapped_pfn(hva);
	TEST_ASSERT(pfn, "Page %lu is not mapped", page);

	return pfn;
}

int pin_in_pipe(void *hva, int pipefd[2])
{
	struct iovec iov = { .iov_base = hva, .iov_len = PAGE_SIZE };

	TEST_ASSERT(!pipe(pipefd), "pipe() failed");

	return vmsplice(pipefd[1], &iov, 1, 0) == PAGE_SIZE ? 0 : -errno;
}

void unpin_pipe(int pipefd[2])
{
	close(pipefd[0]);
	close(pipefd[1]);
}

/* A long-term pin through CONFIG_GUP_TEST, released by close(). */
int pin_longterm(void *hva, int *fd)
{
	struct pin_longterm_test args = {
		.addr = (uintptr_t)hva,
		.size = PAGE_SIZE,
		.flags = PIN_LONGTERM_TEST_FLAG_USE_WRITE,
	};

	*fd = open("/sys/kernel/debug/gup_test", O_RDWR);
	if (*fd < 0)
		return -errno;

	return ioctl(*fd, PIN_LONGTERM_TEST_START, &args) ? -errno : 0;
}

/* Everyone who maps the page is notified by SIGBUS, including this process. */
bool poison_page(struct gmem_vm *g, u64 page)
{
	struct sigaction old, new = { .sa_handler = sigbus_handler };
	volatile int r = 0;

	sigaction(SIGBUS, &new, &old);
	if (!sigsetjmp(sigbus_jmpbuf, 1))
		r = madvise(g->mem + page * PAGE_SIZE, PAGE_SIZE, MADV_HWPOISON);
	sigaction(SIGBUS, &old, NULL);

	return !r;
}

int poison_frame(u64 pfn)
{
	char text[24];
	int r;

	snprintf(text, sizeof(text), "%#lx", pfn);
	r = write_file("/sys/kernel/debug/hwpoison/corrupt-pfn", text);

	/* EBUSY means that the page stays in the file, as it does until it is punched out. */
	return r == -EBUSY ? 0 : r;
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), r;

	if (fd < 0)
		return -errno;

	r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

long read_number(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	char line[128], *at;
	long value = -1;

	while (file && fgets(line, sizeof(line), file)) {
		at = line + strlen(name);
		if (!strncmp(line, name, strlen(name)) && (*at == ' ' || *at == ':'))
			value = atol(at + strspn(at, ": "));
	}
	if (file)
		fclose(file);
	TEST_ASSERT(value >= 0, "%s has no %s", path, name);

	return value;
}

void show_progress(const char *what, u64 done, u64 total)
{
	static time_t last;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec == last)
		return;

	last = now.tv_sec;
	if (total)
		printf("# progress: %lu of %lu %s\n", done, total, what);
	else
		printf("# progress: %lu %s\n", done, what);
	fflush(stdout);
}

u64 env_number(const char *name, u64 otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}
