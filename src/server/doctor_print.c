/* The doctor's report: lines for people, and JSON. */
#include "server/doctor.h"

#include <string.h>

#include "mem/assert.h"

static const char *const result_names[] = { "PASS", "WARN", "FAIL" };

/* ----------------------------------------------------------------------------------------------------------- text ---- */

static int longest_name(const struct doctor_report *report) {
    size_t longest = 0;
    for (uint32_t i = 0; i < report->count; i++) {
        size_t len = strlen(report->checks[i].name);
        longest = len > longest ? len : longest;
    }
    return (int)longest;
}

void doctor_print_text(const struct doctor_report *report, bool colours, FILE *out) {
    static const char *const colour_of[] = { "\033[32m", "\033[33m", "\033[31m" };
    int width = longest_name(report);
    for (uint32_t i = 0; i < report->count; i++) {
        const struct doctor_check *check = &report->checks[i];
        const char *on = colours ? colour_of[check->verdict.result] : "";
        fprintf(out, "%s%s%s  %-*s  %s\n", on, result_names[check->verdict.result], colours ? "\033[0m" : "", width,
                check->name, check->verdict.finding);
        if (check->verdict.fix[0] != '\0') {
            fprintf(out, "      %*s  fix: %s\n", width, "", check->verdict.fix);
        }
    }
    if (report->recommended[0] == '\0') {
        fprintf(out, "recommended: none works yet: %s\n", report->reason);
    } else {
        fprintf(out, "recommended: %s%s%s%s\n", report->recommended, report->reason[0] != '\0' ? "   (" : "", report->reason,
                report->reason[0] != '\0' ? ")" : "");
    }
}

/* ----------------------------------------------------------------------------------------------------------- JSON ---- */

/* Bytes of the UTF-8 character at `text`, 0 when it is none. RFC 3629 §4, without the finer points of overlong forms. */
static size_t utf8_len(const unsigned char *text) {
    size_t len = text[0] >= 0xc2 && text[0] <= 0xdf   ? 2
                 : text[0] >= 0xe0 && text[0] <= 0xef ? 3
                 : text[0] >= 0xf0 && text[0] <= 0xf4 ? 4
                                                      : 0;
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0; /* the NUL at the end is none either */
        }
    }
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f)) {
        return 0;
    }
    return (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f) ? 0 : len;
}

/* A JSON string. RFC 8259 §7. Bytes that are no UTF-8 (of a path on the command line) become U+FFFD. */
static void put_string(const char *text, FILE *out) {
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            fprintf(out, "\\%c", *at);
        } else if (*at < 0x20 || *at == 0x7f) {
            fprintf(out, "\\u%04x", *at);
        } else if (*at < 0x80) {
            fputc(*at, out);
        } else if (utf8_len(at) > 0) {
            size_t len = utf8_len(at);
            fwrite(at, 1, len, out);
            at += len - 1;
        } else {
            fputs("\\ufffd", out);
        }
    }
    fputc('"', out);
}

static void put_member(const char *name, const char *text, FILE *out) {
    fprintf(out, "\"%s\": ", name);
    put_string(text, out);
}

void doctor_print_json(const struct doctor_report *report, FILE *out) {
    fputs("{", out);
    put_member("version", rm_version(), out);
    fputs(", \"checks\": [", out);
    for (uint32_t i = 0; i < report->count; i++) {
        const struct doctor_check *check = &report->checks[i];
        fputs(i == 0 ? "\n  {" : ",\n  {", out);
        put_member("name", check->name, out);
        fputs(", ", out);
        put_member("result", result_names[check->verdict.result], out);
        fputs(", ", out);
        put_member("finding", check->verdict.finding, out);
        fputs(", ", out);
        put_member("fix", check->verdict.fix, out);
        fputs("}", out);
    }
    fputs("],\n", out);
    put_member("recommended", report->recommended, out);
    fputs(", ", out);
    put_member("reason", report->reason, out);
    fputs("}\n", out);
}
