// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* How gmem prints names of processes, which may be any bytes, and sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../cli/human.h"
#include "../cli/text.h"

#define BAD "\xef\xbf\xbd"

static void expect(void (*print)(FILE *to, const char *string), const char *string,
		   const char *expected)
{
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_non_null(to);
	print(to, string);
	assert_int_equal(fclose(to), 0);
	assert_string_equal(text, expected);
	free(text);
}

static void json_escapes(void **state)
{
	(void)state;
	expect(text_json, "", "\"\"");
	expect(text_json, "qemu", "\"qemu\"");
	expect(text_json, "a\"b\\c\nd\te\x1b[1m", "\"a\\\"b\\\\c\\nd\\u0009e\\u001b[1m\"");
}

static void label_escapes(void **state)
{
	(void)state;
	expect(text_label, "a\"b\\c\nd\te", "\"a\\\"b\\\\c\\nd\te\"");
}

static void characters_stay(void **state)
{
	(void)state;
	expect(text_json, "\x7f\xc2\x80\xdf\xbf", "\"\x7f\xc2\x80\xdf\xbf\"");
	expect(text_json, "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
	       "\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"");
	expect(text_json, "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"");
}

static void bad_bytes_are_replaced(void **state)
{
	(void)state;
	expect(text_json, "\x80", "\"" BAD "\"");
	expect(text_json, "\xff\xfe", "\"" BAD BAD "\"");
	/* Cut off, at the end and within. */
	expect(text_json, "\xe2\x82", "\"" BAD BAD "\"");
	expect(text_json, "\xe2\x82.", "\"" BAD BAD ".\"");
	/* Longer than needed, a surrogate, beyond U+10FFFF. */
	expect(text_json, "\xc0\xaf", "\"" BAD BAD "\"");
	expect(text_json, "\xe0\x9f\xbf", "\"" BAD BAD BAD "\"");
	expect(text_json, "\xed\xa0\x80", "\"" BAD BAD BAD "\"");
	expect(text_json, "\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\"");
}

static void plain_is_printable(void **state)
{
	char many[400];

	(void)state;
	assert_string_equal(text_plain("a b~"), "a b~");
	assert_string_equal(text_plain("\x1b[1m\xc2\x80\x7f"), "?[1m???");
	memset(many, 'x', sizeof(many));
	many[sizeof(many) - 1] = '\0';
	assert_true(strlen(text_plain(many)) < sizeof(many) - 1);
}

static void sizes_have_five_characters(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
		{ 0, "0B" }, { 1, "1B" }, { 1023, "1023B" }, { 1024, "1.0K" }, { 4096, "4.0K" },
		{ 102348, "99.9K" }, { 102400, "100K" }, { 1023ull << 10, "1023K" },
		{ (1ull << 20) - 1, "1.0M" }, { 3ull << 29, "1.5G" }, { 1ull << 40, "1.0T" },
		{ UINT64_MAX, "16.0E" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		assert_string_equal(human_size(sizes[i].bytes), sizes[i].text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_escapes),
		cmocka_unit_test(label_escapes),
		cmocka_unit_test(characters_stay),
		cmocka_unit_test(bad_bytes_are_replaced),
		cmocka_unit_test(plain_is_printable),
		cmocka_unit_test(sizes_have_five_characters),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
