#include "load_report.h"

#include <inttypes.h>

static double seconds(const struct load_result *result) {
    return result->end_ns > result->begin_ns ? (double)(result->end_ns - result->begin_ns) / 1e9 : 0;
}

static double per(double value, uint64_t n) {
    return n == 0 ? 0 : value / (double)n;
}

static uint64_t calls_sum(const struct load_result *result) {
    uint64_t sum = 0;
    for (int i = 0; i < RING_CALLS_COUNT; i++) {
        sum += result->counters.calls[i];
    }
    return sum;
}

static double quantile_us(const struct load_result *result, double fraction) {
    return (double)histogram_quantile(&result->latency, fraction) / 1e3;
}

/* A JSON string: RFC 8259 §7. Bytes above 0x7e become '?', so that what a broken server sends is still valid JSON. */
static void json_string(FILE *out, const char *text) {
    fputc('"', out);
    for (const char *p = text; *p != 0; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < 0x20) {
            fprintf(out, "\\u%04x", c);
        } else {
            fputc(c > 0x7e ? '?' : c, out);
        }
    }
    fputc('"', out);
}

static void json_statuses(FILE *out, const struct load_result *result) {
    fprintf(out, " \"statuses\": {");
    const char *comma = "";
    for (int i = 0; i < LOAD_STATUS_MAX; i++) {
        if (result->statuses[i] > 0) {
            fprintf(out, "%s\"%d\": %" PRIu64, comma, i, result->statuses[i]);
            comma = ", ";
        }
    }
    fprintf(out, "},\n");
}

static void json_errors(FILE *out, const struct load_result *result) {
    fprintf(out, " \"errors\": {\"total\": %" PRIu64, load_result_errors(result));
    for (enum load_error i = 0; i < LOAD_ERRORS_COUNT; i++) {
        fprintf(out, ", \"%s\": %" PRIu64, load_error_name(i), result->errors[i]);
    }
    fprintf(out, "},\n \"sample\": ");
    json_string(out, result->sample);
    fprintf(out, ",\n");
}

static void json_calls(FILE *out, const struct load_result *result) {
    fprintf(out, " \"calls\": {");
    const char *comma = "";
    for (enum ring_call i = 0; i < RING_CALLS_COUNT; i++) {
        if (result->counters.calls[i] > 0) {
            fprintf(out, "%s\"%s\": %" PRIu64, comma, ring_call_name(i), result->counters.calls[i]);
            comma = ", ";
        }
    }
    fprintf(out, "},\n \"calls_per_request\": %.5f,\n", per((double)calls_sum(result), result->responses));
}

static void json_cost(FILE *out, const struct load_result *result) {
    double all = result->user_us + result->system_us;
    fprintf(out, " \"cpu\": {\"user_us\": %.0f, \"system_us\": %.0f, \"per_request_us\": %.4f, \"share\": %.4f},\n",
            result->user_us, result->system_us, per(all, result->responses),
            seconds(result) > 0 ? all / 1e6 / seconds(result) : 0);
    fprintf(out, " \"turns\": %" PRIu64 ", \"completions_per_turn\": %.2f,\n", result->counters.turns,
            per((double)result->counters.completions, result->counters.turns));
}

static void json_latency(FILE *out, const struct load_options *options, const struct load_result *result) {
    double p50 = quantile_us(result, 0.5);
    fprintf(out, " \"latency_us\": {\"loop\": \"%s\", \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p99_9\": %.1f, ",
            options->rate > 0 ? "open" : "closed", p50, quantile_us(result, 0.9), quantile_us(result, 0.99),
            quantile_us(result, 0.999));
    fprintf(out, "\"max\": %.1f, \"mean\": %.1f, \"p99_over_p50\": %.3f},\n", (double)result->latency.max_ns / 1e3,
            (double)histogram_mean(&result->latency) / 1e3, p50 > 0 ? quantile_us(result, 0.99) / p50 : 0);
}

void load_report_json(FILE *out, const struct load_options *options, const struct load_result *result) {
    fprintf(out, "{\"tool\": \"load\", \"format\": 1,\n \"connect\": ");
    json_string(out, options->connect);
    fprintf(out, ", \"template\": ");
    json_string(out, options->template_path);
    fprintf(out, ",\n \"connections\": %" PRIu32 ", \"depth\": %" PRIu32 ", \"reconnect\": %" PRIu32 ", \"rate\": %" PRIu64
            ", \"seed\": %" PRIu64 ", \"cpu_pinned\": %d,\n", options->connections, options->depth, options->reconnect,
            options->rate, options->seed, options->cpu);
    fprintf(out, " \"backend\": \"%s\", \"fallback\": %s, \"features\": ", result->report.backend,
            result->report.fallback ? "true" : "false");
    json_string(out, result->report.features);
    fprintf(out, ",\n \"sent\": %" PRIu64 ", \"requests\": %" PRIu64 ", \"seconds\": %.6f, \"requests_per_second\": %.1f,\n",
            result->requests, result->responses, seconds(result),
            seconds(result) > 0 ? (double)result->responses / seconds(result) : 0);
    fprintf(out, " \"connects\": %" PRIu64 ", \"closed_idle\": %" PRIu64 ", \"sent_bytes\": %" PRIu64
            ", \"received_bytes\": %" PRIu64 ",\n", result->connects, result->closed_idle, result->sent_bytes,
            result->received_bytes);
    json_statuses(out, result);
    json_errors(out, result);
    json_cost(out, result);
    json_calls(out, result);
    json_latency(out, options, result);
    fprintf(out, " \"per_connection\": {\"min\": %" PRIu64 ", \"max\": %" PRIu64 "}}\n", result->responses_min,
            result->responses_max);
}

void load_report_text(FILE *out, const struct load_options *options, const struct load_result *result) {
    fprintf(out, "%s: %" PRIu32 " connections, depth %" PRIu32, options->connect, options->connections, options->depth);
    if (options->reconnect > 0) {
        fprintf(out, ", reconnecting every %" PRIu32, options->reconnect);
    }
    fprintf(out, "; generator on %s\n", result->report.backend);
    fprintf(out, "  %" PRIu64 " responses in %.2f s, %.0f per second; %" PRIu64 " connects; %" PRIu64 " errors\n",
            result->responses, seconds(result), (double)result->responses / (seconds(result) > 0 ? seconds(result) : 1),
            result->connects, load_result_errors(result));
    fprintf(out, "  the generator: %.3f us of CPU and %.4f system calls per request\n",
            per(result->user_us + result->system_us, result->responses),
            per((double)calls_sum(result), result->responses));
    fprintf(out, "  %s: p50 %.0f us, p90 %.0f, p99 %.0f, p99.9 %.0f, max %.0f\n",
            options->rate > 0 ? "open loop, from when a request was due" : "closed loop, so no service latency",
            quantile_us(result, 0.5), quantile_us(result, 0.9), quantile_us(result, 0.99), quantile_us(result, 0.999),
            (double)result->latency.max_ns / 1e3);
    fprintf(out, "  responses per connection: %" PRIu64 " to %" PRIu64 "\n", result->responses_min, result->responses_max);
    for (enum load_error i = 0; i < LOAD_ERRORS_COUNT; i++) {
        if (result->errors[i] > 0) {
            fprintf(out, "  WRONG %s: %" PRIu64 "\n", load_error_name(i), result->errors[i]);
        }
    }
    if (result->sample[0] != 0) {
        fprintf(out, "  the first: %s\n", result->sample);
    }
}
