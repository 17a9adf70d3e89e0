/* See stk500v2.h. */
#include "stk500v2.h"

enum { MESSAGE_START = 0x1b, TOKEN = 0x0e };

static bool sequence_fits(const struct v2_parser *parser, uint8_t byte)
{
    return !parser->strict || byte == 1 || byte == parser->expected;
}

static enum v2_heard take_body(struct v2_parser *parser, uint8_t byte)
{
    parser->body[parser->got++] = byte;
    if (parser->got == parser->size)
        parser->place = V2_SUM;
    return V2_NOTHING;
}

static enum v2_heard take_token(struct v2_parser *parser, uint8_t byte)
{
    bool fits = parser->size > 0 && parser->size <= parser->limit;
    parser->place = byte == TOKEN && fits ? V2_BODY : V2_START;
    parser->got = 0;
    return byte == TOKEN && !fits ? V2_DERAILED : V2_NOTHING;
}

enum v2_heard v2_hear(struct v2_parser *parser, uint8_t byte)
{
    parser->sum = parser->place == V2_START ? byte : parser->sum ^ byte;
    switch (parser->place) {
    case V2_START:
        parser->place = byte == MESSAGE_START ? V2_SEQUENCE : V2_START;
        return V2_NOTHING;
    case V2_SEQUENCE:
        parser->sequence = byte;
        parser->place = sequence_fits(parser, byte) ? V2_SIZE_HIGH : V2_START;
        return V2_NOTHING;
    case V2_SIZE_HIGH:
        parser->size = (size_t)byte << 8;
        parser->place = V2_SIZE_LOW;
        return V2_NOTHING;
    case V2_SIZE_LOW:
        parser->size |= byte;
        parser->place = V2_TOKEN;
        return V2_NOTHING;
    case V2_TOKEN:
        return take_token(parser, byte);
    case V2_BODY:
        return take_body(parser, byte);
    case V2_SUM:
        break;
    }
    parser->place = V2_START;
    return parser->sum == 0 ? V2_FRAME : V2_NOTHING;
}

void v2_reply(struct v2_parser *parser, struct vline *line, const uint8_t *body, size_t length)
{
    uint8_t head[5] = {MESSAGE_START, parser->sequence, (uint8_t)(length >> 8), (uint8_t)length,
                       TOKEN};
    uint8_t sum = 0;
    for (size_t i = 0; i < sizeof head + length; i++) {
        uint8_t byte = i < sizeof head ? head[i] : body[i - sizeof head];
        sum ^= byte;
        line->send(line, byte);
    }
    line->send(line, sum);
    parser->expected = (uint8_t)(parser->sequence + 1);
}
