// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Structs that carry their size may grow, for callers that are older and newer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unit_vm.h"

/* A struct of a later version; the library knows only its beginning. */
#define LATER(type) struct { struct type known; uint64_t later; }

static void newer_caller_is_served_unless_it_wants_what_is_new(void **state)
{
	LATER(gmem_convert_opts) opts = { .known = GMEM_CONVERT_OPTS_INITIALIZER };
	LATER(gmem_range) range;
	LATER(gmem_result) result;

	(void)state;
	start(GMEM_IN_PLACE);
	opts.known.struct_size = sizeof(opts);
	memset(&result, 0xff, sizeof(result));
	result.known.struct_size = sizeof(result);
	assert_int_equal(gmem_convert(b, 0, PAGE, GMEM_PRIVATE, &opts.known, &result.known), 0);
	assert_int_equal(result.later, 0);
	opts.later = 1;
	assert_int_equal(gmem_convert(b, 0, PAGE, GMEM_SHARED, &opts.known, NULL), -E2BIG);

	memset(&range, 0xff, sizeof(range));
	range.known.struct_size = sizeof(range);
	assert_int_equal(gmem_lookup(b, 0, &range.known), 0);
	assert_int_equal(range.known.attributes, GMEM_PRIVATE);
	assert_int_equal(range.known.struct_size, sizeof(range));
	assert_int_equal(range.later, 0);
	stop();
}

static void older_caller_gets_what_it_has_room_for(void **state)
{
	struct gmem_range range;

	(void)state;
	start(GMEM_IN_PLACE);
	memset(&range, 0xff, sizeof(range));
	range.struct_size = offsetof(struct gmem_range, gpa);
	assert_int_equal(gmem_lookup_gpa(vm, FAKE_GPA + PAGE, &range), 0);
	assert_ptr_equal(range.gmem, b);
	assert_int_equal(range.offset, PAGE);
	assert_int_equal(range.gpa, UINT64_MAX);
	assert_int_equal(range.attributes, UINT64_MAX);
	stop();
}

static void struct_without_its_size_is_refused(void **state)
{
	static const struct { size_t size; int r; } sizes[] = {
		{ 0, -EINVAL }, { sizeof(size_t) - 1, -EINVAL }, { 4097, -E2BIG },
		{ SIZE_MAX, -E2BIG },
	};
	struct gmem_listener listener = pictures[0].listener;
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_create_opts create;
	struct gmem_adopt_opts adopt;
	struct gmem_bind_opts bind;
	struct gmem_map_opts map;
	struct gmem_vm_opts vm_opts;
	struct gmem_iommu_opts iommu;
	struct gmem_result result;
	struct gmem_iommu *added;
	struct gmem_probe probe;
	struct gmem_range range;
	struct gmem_vm *other;
	struct gmem *gmem;
	void *hva;
	size_t i;

	(void)state;
	start(GMEM_IN_PLACE);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const size_t size = sizes[i].size;
		const int r = sizes[i].r;

		range.struct_size = size;
		assert_int_equal(gmem_lookup(b, 0, &range), r);
		assert_int_equal(gmem_lookup_gpa(vm, FAKE_GPA, &range), r);
		assert_int_equal(gmem_verify(b, &range), r);
		probe.struct_size = size;
		assert_int_equal(gmem_probe(fake.vm_fd, SW_PROTECTED_VM, GMEM_MECHANISM_NONE,
					    &probe), r);
		opts.struct_size = size;
		assert_int_equal(gmem_convert(b, 0, PAGE, GMEM_PRIVATE, &opts, NULL), r);
		result.struct_size = size;
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, PAGE, GMEM_PRIVATE, NULL, &result),
				 r);
		create.struct_size = size;
		assert_int_equal(gmem_create(vm, PAGE, &create, &gmem), r);
		vm_opts.struct_size = size;
		assert_int_equal(gmem_vm_init(fake.vm_fd, &vm_opts, &other), r);
		iommu.struct_size = size;
		assert_int_equal(gmem_add_iommu(vm, &iommu, &added), r);
		adopt.struct_size = size;
		assert_int_equal(gmem_adopt(vm, PAGE, gmem_private_fd(b), gmem_shared_fd(b), &adopt,
					    &gmem), r);
		map.struct_size = size;
		assert_int_equal(gmem_map(b, &map, &hva), r);
		bind.struct_size = size;
		assert_int_equal(gmem_bind(b, 9, FAKE_GPA + ALL, 0, PAGE, &bind), r);
		assert_int_equal(gmem_exclude(vm, FAKE_GPA + ALL, PAGE, &bind), r);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, &bind), r);
		listener.struct_size = size;
		assert_int_equal(gmem_add_listener(vm, &listener), r);
	}
	trace_is("");
	expect_in_step();
	stop();
}

/* Every byte of @size, and none after it. */
#define CHECK_INIT(name, type) do { \
	struct { struct type s; unsigned char after[16]; } x; \
	struct type expected = GMEM_INITIALIZER(struct type); \
	size_t at; \
	memset(&x, 0xff, sizeof(x)); \
	name(&x.s, sizeof(x.s) + 8); \
	assert_int_equal(x.s.struct_size, sizeof(x.s) + 8); \
	assert_int_equal(x.after[7], 0); \
	assert_int_equal(x.after[8], 0xff); \
	memset(&x, 0xff, sizeof(x)); \
	name(&x.s, sizeof(x.s)); \
	assert_int_equal(x.after[0], 0xff); \
	assert_int_equal(x.s.struct_size, expected.struct_size); \
	for (at = sizeof(size_t); at < sizeof(x.s); at++) \
		assert_true(((unsigned char *)&x)[at] == 0 || is_default((unsigned char *)&x, at)); \
	memset(&x, 0xff, sizeof(x)); \
	name(&x.s, sizeof(size_t) - 1); \
	assert_int_equal(x.s.struct_size, SIZE_MAX); \
} while (0)

static bool convert_opts;

/* In opts of a conversion the policies are not 0. */
static bool is_default(const unsigned char *bytes, size_t at)
{
	return convert_opts && bytes[at] == GMEM_DEFAULT &&
	       (at == offsetof(struct gmem_convert_opts, to_shared) ||
		at == offsetof(struct gmem_convert_opts, to_private));
}

static void functions_do_what_the_macros_do(void **state)
{
	struct gmem_convert_opts opts;

	(void)state;
	convert_opts = false;
	CHECK_INIT(gmem_probe_init, gmem_probe);
	CHECK_INIT(gmem_vm_opts_init, gmem_vm_opts);
	CHECK_INIT(gmem_create_opts_init, gmem_create_opts);
	CHECK_INIT(gmem_adopt_opts_init, gmem_adopt_opts);
	CHECK_INIT(gmem_map_opts_init, gmem_map_opts);
	CHECK_INIT(gmem_bind_opts_init, gmem_bind_opts);
	CHECK_INIT(gmem_range_init, gmem_range);
	CHECK_INIT(gmem_listener_init, gmem_listener);
	CHECK_INIT(gmem_iommu_opts_init, gmem_iommu_opts);
	CHECK_INIT(gmem_result_init, gmem_result);
	convert_opts = true;
	CHECK_INIT(gmem_convert_opts_init, gmem_convert_opts);
	gmem_convert_opts_init(&opts, sizeof(opts));
	assert_int_equal(opts.to_shared, GMEM_DEFAULT);
	assert_int_equal(opts.to_private, GMEM_DEFAULT);
}

static void library_says_its_version(void **state)
{
	(void)state;
	assert_string_equal(gmem_version(), GMEM_VERSION);
}

/* Also of numbers between those that have one, as a newer kernel's trace may have. */
static void every_number_has_a_name(void **state)
{
	unsigned int number;

	(void)state;
	for (number = 0; number < 64; number++) {
		assert_non_null(gmem_mechanism_name(number));
		assert_non_null(gmem_policy_name(number));
		assert_non_null(gmem_step_name(number));
	}
	assert_string_equal(gmem_policy_name(GMEM_DEFAULT), "DEFAULT");
	assert_string_equal(gmem_policy_name(GMEM_NONE + 1), "unknown");
	assert_string_equal(gmem_policy_name(UINT32_MAX), "unknown");
}

const struct CMUnitTest structs_cases[] = {
	CASE(newer_caller_is_served_unless_it_wants_what_is_new),
	CASE(older_caller_gets_what_it_has_room_for),
	CASE(struct_without_its_size_is_refused),
	CASE(functions_do_what_the_macros_do),
	CASE(library_says_its_version),
	CASE(every_number_has_a_name),
	{},
};
