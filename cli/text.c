// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <stdbool.h>
#include <string.h>

#include "text.h"

#define REPLACEMENT "\357\277\275"

/* How many bytes the character of UTF-8 at @at has; 0 if there is none. */
static size_t utf8_length(const unsigned char *at)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t i, length;

	if (at[0] < 0x80)
		return 1;
	if (at[0] < 0xc2 || at[0] > 0xf4)
		return 0;
	length = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

	/* Not longer than needed, no surrogate, not above U+10FFFF. */
	if (at[0] == 0xe0)
		low = 0xa0;
	if (at[0] == 0xed)
		high = 0x9f;
	if (at[0] == 0xf0)
		low = 0x90;
	if (at[0] == 0xf4)
		high = 0x8f;

	/* The terminating 0 is no continuation, so this stays within the string. */
	for (i = 1; i < length; i++) {
		if (at[i] < low || at[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}

	return length;
}

static void escape(FILE *to, const char *string, bool json)
{
	const unsigned char *at = (const unsigned char *)string;
	size_t length;

	putc('"', to);
	for (; *at; at += length) {
		length = utf8_length(at);
		if (!length) {
			fputs(REPLACEMENT, to);
			length = 1;
		} else if (*at == '"' || *at == '\\') {
			fprintf(to, "\\%c", *at);
		} else if (*at == '\n') {
			fputs("\\n", to);
		} else if (json && *at < ' ') {
			fprintf(to, "\\u%04x", *at);
		} else {
			fwrite(at, 1, length, to);
		}
	}
	putc('"', to);
}

void text_json(FILE *to, const char *string)
{
	escape(to, string, true);
}

void text_label(FILE *to, const char *string)
{
	escape(to, string, false);
}

const char *text_plain(const char *string)
{
	static char plain[256];
	size_t i;

	for (i = 0; i < sizeof(plain) - 1 && string[i]; i++)
		plain[i] = string[i] >= ' ' && string[i] <= '~' ? string[i] : '?';
	plain[i] = '\0';

	return plain;
}
