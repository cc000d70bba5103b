// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The fake's side of the system calls that the library makes. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fake_kvm.h"
#include "kvm_abi.h"

struct fake fake;
/* One call at a time; they note as well. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

int __real_memfd_create(const char *name, unsigned int flags);
int __real_ftruncate(int fd, off_t size);
void *__real_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);

void fake_start(void)
{
	int ends[2];

	fake = (struct fake){
		.knows_convert = true, .knows_policies = true, .knows_convert_of_vm = true,
		.knows_two_backings = true, .knows_error_offset = true, .knows_get = true, .to_shared = 7, .to_private = 7,
		.capability = KVM_MEMORY_ATTRIBUTE_PRIVATE,
	};
	/* Not a regular file, as the real one, and with an inode of its own. */
	if (pipe2(ends, O_CLOEXEC))
		abort();
	close(ends[1]);
	fake.vm_fd = ends[0];
}

void fake_stop(void)
{
	close(fake.vm_fd);
}

void fake_fail(enum fake_call call, unsigned int from, unsigned int count, int error)
{
	fake.answers[fake.nr_answers++] = (struct fake_answer){
		.call = call, .from = fake.calls[call] + from, .count = count, .error = error,
	};
}

void fake_note(char what)
{
	size_t length;

	pthread_mutex_lock(&lock);
	length = strlen(fake.trace);
	if (length < sizeof(fake.trace) - 1)
		fake.trace[length] = what;
	pthread_mutex_unlock(&lock);
}

static ino_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

static bool is_vm(int fd)
{
	return fd == fake.vm_fd || inode_of(fd) == inode_of(fake.vm_fd);
}

struct fake_file *fake_file(int fd)
{
	unsigned int i;
	ino_t inode;

	for (i = fake.nr_files; i-- > 0; ) {
		if (fake.files[i].fd == fd)
			return &fake.files[i];
	}
	inode = inode_of(fd);
	for (i = fake.nr_files; inode && i-- > 0; ) {
		if (fake.files[i].inode == inode)
			return &fake.files[i];
	}
	return NULL;
}

/* The scripted error of this call, or 0. */
static int scripted(enum fake_call call)
{
	unsigned int number = fake.calls[call]++, i;

	for (i = 0; i < fake.nr_answers; i++) {
		const struct fake_answer *answer = &fake.answers[i];

		if (answer->call == call && number >= answer->from &&
		    number - answer->from < answer->count)
			return answer->error;
	}
	return 0;
}

static int create(struct kvm_create_guest_memfd *args)
{
	bool mmap = args->flags & GUEST_MEMFD_FLAG_MMAP;
	struct fake_file *file = &fake.files[fake.nr_files % FAKE_FILES];
	int error = scripted(CALL_CREATE);
	size_t i;

	if (!error && mmap && !fake.knows_convert && !fake.knows_policies)
		error = EINVAL;
	if (!error && !mmap && !fake.knows_two_backings)
		error = ENOTTY;
	if (error)
		return error;

	memset(file, 0, sizeof(*file));
	/* As the real one: not close-on-exec. */
	file->fd = __real_memfd_create("guest", 0);
	file->inode = inode_of(file->fd);
	file->in_place = mmap;
	if (__real_ftruncate(file->fd, args->size))
		return errno;
	for (i = 0; i < FAKE_PAGES; i++)
		file->is_private[i] = !(args->flags & GUEST_MEMFD_FLAG_INIT_SHARED);
	/* Scratch files are closed again at once, and their place is free. */
	if (args->size > PAGE)
		fake.nr_files++;
	return -file->fd;
}

/* One page of a guest range: which page of which file. */
static bool find_page(uint64_t gpa, struct fake_file **file, uint64_t *page)
{
	size_t i;

	for (i = 0; i < sizeof(fake.slots) / sizeof(fake.slots[0]); i++) {
		const struct fake_slot *slot = &fake.slots[i];

		if (!slot->used || gpa < slot->gpa || gpa - slot->gpa >= slot->size)
			continue;
		*file = fake_file(slot->fd);
		*page = (slot->offset + (gpa - slot->gpa)) / PAGE;
		return true;
	}
	return false;
}

static int convert(int fd, struct kvm_memory_attributes2 *args)
{
	bool by_gpa = is_vm(fd), to_private = args->attributes;
	struct fake_file *file = by_gpa ? NULL : fake_file(fd);
	uint64_t at, page = 0;
	int error;

	/* A scratch file of one page. */
	if (!by_gpa && !file)
		file = &fake.files[fake.nr_files % FAKE_FILES];
	if (!fake.knows_convert || (by_gpa && !fake.knows_convert_of_vm) ||
	    (!by_gpa && (file->inode != inode_of(fd) || !file->in_place)))
		return ENOTTY;
	if (!args->size)
		return EINVAL;
	/* A reserved word for a kernel that does not know it. */
	if (!fake.knows_error_offset && args->error_offset)
		return EINVAL;
	error = scripted(CALL_CONVERT);
	/* The library has no place for the answer of a page; the last one is what it asked. */
	if (error && fake.knows_error_offset)
		args->error_offset = args->offset + args->size - PAGE;
	if (error)
		return error;
	if (args->flags && !fake.knows_policies)
		return EINVAL;
	if (fake.knows_policies &&
	    !((to_private ? fake.to_private : fake.to_shared) & (1u << args->flags)))
		return EOPNOTSUPP;

	for (at = args->offset; at < args->offset + args->size; at += PAGE) {
		page = at / PAGE;
		if (by_gpa && !find_page(at, &file, &page))
			return ENXIO;
		if (to_private && !file->is_private[page] && fake.held[file - fake.files][page]) {
			args->error_offset = at;
			return EAGAIN;
		}
		if (!to_private && file->is_private[page] && fake.refused[file - fake.files][page]) {
			args->error_offset = at;
			return EPERM;
		}
	}
	fake_note('c');
	for (at = args->offset; at < args->offset + args->size; at += PAGE) {
		page = at / PAGE;
		if (by_gpa)
			find_page(at, &file, &page);
		file->converted[page] += file->is_private[page] != to_private;
		file->is_private[page] = to_private;
	}
	return 0;
}

static int get(int fd, struct kvm_memory_attributes2_range *args)
{
	struct fake_file *file = fake_file(fd);
	uint64_t page = args->offset / PAGE, end;
	struct stat st;
	int error;
	size_t i;

	if (!fake.knows_get || !file || !file->in_place || fstat(fd, &st))
		return ENOTTY;
	for (i = 0; i < sizeof(args->reserved) / sizeof(args->reserved[0]); i++) {
		if (args->reserved[i])
			return EINVAL;
	}
	if (args->offset % PAGE || args->offset >= (uint64_t)st.st_size)
		return EINVAL;
	error = scripted(CALL_GET);
	if (error)
		return error;
	for (end = page + 1; end < (uint64_t)st.st_size / PAGE &&
	     file->is_private[end] == file->is_private[page]; end++)
		;
	if (fake.get_pages && end > page + fake.get_pages)
		end = page + fake.get_pages;
	args->size = (end - page) * PAGE;
	args->attributes = file->is_private[page] ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
	return 0;
}

static int set_attributes(const struct kvm_memory_attributes *args)
{
	uint64_t at;
	int error;

	if (!fake.knows_two_backings)
		return ENOTTY;
	if (!args->size)
		return EINVAL;
	error = scripted(CALL_ATTRIBUTES);
	if (error)
		return error;
	fake_note('a');
	for (at = args->address; at < args->address + args->size; at += PAGE)
		fake.vm_private[(at - FAKE_GPA) / PAGE] = args->attributes;
	return 0;
}

static int set_slot(const struct kvm_userspace_memory_region2 *args)
{
	int error = scripted(CALL_SLOT);

	if (error)
		return error;
	fake.slots[args->slot] = (struct fake_slot){
		.used = args->memory_size, .gpa = args->guest_phys_addr, .size = args->memory_size,
		.offset = args->guest_memfd_offset, .fd = args->guest_memfd,
		.flags = args->flags, .hva = args->userspace_addr,
	};
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *arg;
	int error;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);

	pthread_mutex_lock(&lock);
	switch (request) {
	case KVM_CHECK_EXTENSION:
		error = -fake.capability;
		break;
	case KVM_CREATE_GUEST_MEMFD:
		error = create(arg);
		break;
	case KVM_SET_MEMORY_ATTRIBUTES2:
		error = convert(fd, arg);
		break;
	case KVM_GET_MEMORY_ATTRIBUTES2:
		error = get(fd, arg);
		break;
	case KVM_SET_MEMORY_ATTRIBUTES:
		error = set_attributes(arg);
		break;
	case KVM_SET_USER_MEMORY_REGION2:
		error = set_slot(arg);
		break;
	default:
		error = fake.other_call ? fake.other_call(fd, request, arg) : ENOTTY;
		break;
	}
	pthread_mutex_unlock(&lock);
	if (error <= 0)
		return -error;
	errno = error;
	return -1;
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t size);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t size)
{
	struct fake_file *file;
	off_t at;
	int error;

	(void)mode;
	pthread_mutex_lock(&lock);
	file = fake_file(fd);
	error = scripted(CALL_PUNCH);
	if (!error) {
		fake_note('p');
		fake.hole.fd = fd;
		fake.hole.offset = offset;
		fake.hole.size = size;
		for (at = offset; file && at < offset + size; at += PAGE)
			file->punched[at / PAGE]++;
	}
	pthread_mutex_unlock(&lock);
	errno = error;

	return error ? -1 : 0;
}

int __wrap_memfd_create(const char *name, unsigned int flags);
int __wrap_memfd_create(const char *name, unsigned int flags)
{
	errno = scripted(CALL_MEMFD);
	return errno ? -1 : __real_memfd_create(name, flags);
}

int __wrap_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size)
{
	errno = scripted(CALL_TRUNCATE);
	return errno ? -1 : __real_ftruncate(fd, size);
}

void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	errno = scripted(CALL_MMAP);
	return errno ? MAP_FAILED : __real_mmap(at, size, prot, flags, fd, offset);
}

int __real_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice)
{
	errno = scripted(CALL_MADVISE);
	return errno ? -1 : __real_madvise(at, size, advice);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	(void)clock;
	*ts = (struct timespec){ .tv_sec = fake.now_ms / 1000,
				 .tv_nsec = fake.now_ms % 1000 * 1000000 };
	return 0;
}

static bool clock_stops(void)
{
	return fake.stop_ms && fake.now_ms >= fake.stop_ms &&
	       !pthread_equal(fake.does_not_stop, pthread_self());
}

/* Wait a millisecond at a time, or less than asked; other threads get the mutex meanwhile. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until)
{
	uint64_t until_ms = until->tv_sec * 1000 + until->tv_nsec / 1000000;

	(void)cond;
	pthread_mutex_unlock(mutex);
	usleep(20);
	pthread_mutex_lock(mutex);
	if (fake.now_ms < until_ms && !clock_stops())
		fake.now_ms++;

	return fake.now_ms < until_ms ? 0 : ETIMEDOUT;
}
