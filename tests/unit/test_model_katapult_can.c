/* The virtual CAN node against the protocol's own sheet: frames said and heard, byte for byte. */
#include <string.h>

#include "can_rig.h"

#define PLAY(rig, ...) can_rig_play(rig, (const char *const[]){__VA_ARGS__, NULL})

#define SET_A "> 3F0 11 87 E8 46 57 E6 76 81"
#define SET_B "> 3F0 11 9E 20 E6 05 76 F6 82"
#define IS_A  "< 3F1 20 87 E8 46 57 E6 76 11"
#define IS_B  "< 3F1 20 9E 20 E6 05 76 F6 11"
#define QUERY "> 3F0 00"
#define CLEAR "> 3F0 12"
#define LATER "- 6" /* the main loop has come round */

#define CONNECT_A "> 202 01 88 11 00 F1 7C 99 03"
#define CONNECTED_A                                                       \
    "< 203 01 88 A0 0D 11 00 00 00", "< 203 00 01 01 00 00 20 00 08",     \
        "< 203 40 00 00 00 73 74 6D 33", "< 203 32 66 31 30 33 78 65 00", \
        "< 203 00 00 00 00 76 30 2E 30", "< 203 2E 31 2D 31 31 30 2D 67", \
        "< 203 62 30 62 66 34 32 31 00", "< 203 28 DD 99 03"
#define ID_OF_A "> 202 01 88 16 00 F9 31 99 03"
#define A_TELLS_ID \
    "< 203 01 88 A0 03 16 00 00 00", "< 203 87 E8 46 57 E6 76 00 00", "< 203 0A 34 99 03"

/* SEND_BLOCK 0x08002000 with 00 .. 3F, without its last frame. */
#define BLOCK_BEGINS                                                      \
    "> 202 01 88 12 11 00 20 00 08", "> 202 00 01 02 03 04 05 06 07",     \
        "> 202 08 09 0A 0B 0C 0D 0E 0F", "> 202 10 11 12 13 14 15 16 17", \
        "> 202 18 19 1A 1B 1C 1D 1E 1F", "> 202 20 21 22 23 24 25 26 27", \
        "> 202 28 29 2A 2B 2C 2D 2E 2F", "> 202 30 31 32 33 34 35 36 37", \
        "> 202 38 39 3A 3B 3C 3D 3E 3F"
#define BLOCK_ENDS "> 202 D2 F3 99 03"
#define BLOCK_DONE "< 203 01 88 A0 02 12 00 00 00", "< 203 00 20 00 08 5A D6 99 03"
#define ASK_FIRST  "> 202 01 88 14 01 00 20 00 08", "> 202 5B DE 99 03"
#define FIRST_IS                                                          \
    "< 203 01 88 A0 12 14 00 00 00", "< 203 00 20 00 08 00 01 02 03",     \
        "< 203 04 05 06 07 08 09 0A 0B", "< 203 0C 0D 0E 0F 10 11 12 13", \
        "< 203 14 15 16 17 18 19 1A 1B", "< 203 1C 1D 1E 1F 20 21 22 23", \
        "< 203 24 25 26 27 28 29 2A 2B", "< 203 2C 2D 2E 2F 30 31 32 33", \
        "< 203 34 35 36 37 38 39 3A 3B", "< 203 3C 3D 3E 3F F2 6B 99 03"

static struct can_rig *nodes(size_t count, const char *variant)
{
    return can_rig_new("stm32f103xe", count, 0, variant, false);
}

static struct can_rig *node_a(void)
{
    struct can_rig *rig = nodes(1, NULL);
    PLAY(rig, SET_A, LATER);
    return rig;
}

static void worked_example_of_two_nodes_byte_for_byte(void **state)
{
    (void)state;
    struct can_rig *rig = nodes(2, NULL);
    PLAY(rig, CLEAR, QUERY, IS_A, IS_B, SET_A, SET_B, LATER, QUERY, ".", CONNECT_A, CONNECTED_A,
         ID_OF_A, A_TELLS_ID);
    PLAY(rig, "> 204 01 88 16 00 F9 31 99 03", "< 205 01 88 A0 03 16 00 00 00",
         "< 205 9E 20 E6 05 76 F6 00 00", "< 205 8D 5D 99 03");
    PLAY(rig, BLOCK_BEGINS, BLOCK_ENDS, BLOCK_DONE);
    PLAY(rig, "> 202 01 88 12 11 40 20 00 08", "> 202 40 41 42 43 44 45 46 47",
         "> 202 48 49 4A 4B 4C 4D 4E 4F", "> 202 50 51 52 53 54 55 56 57",
         "> 202 58 59 5A 5B 5C 5D 5E 5F", "> 202 60 61 62 63 64 65 66 67",
         "> 202 68 69 6A 6B 6C 6D 6E 6F", "> 202 70 71 72 73 74 75 76 77",
         "> 202 78 79 7A 7B 7C 7D 7E 7F", "> 202 10 09 99 03", "< 203 01 88 A0 02 12 00 00 00",
         "< 203 40 20 00 08 ED C0 99 03");
    PLAY(rig, "> 202 01 88 13 00 41 4F 99 03", "< 203 01 88 A0 02 13 00 00 00",
         "< 203 01 00 00 00 2D C4 99 03", ASK_FIRST, FIRST_IS);
    PLAY(rig, "> 202 01 88 14 01 40 20 00 08", "> 202 EC C8 99 03", "< 203 01 88 A0 12 14 00 00 00",
         "< 203 40 20 00 08 40 41 42 43", "< 203 44 45 46 47 48 49 4A 4B",
         "< 203 4C 4D 4E 4F 50 51 52 53", "< 203 54 55 56 57 58 59 5A 5B",
         "< 203 5C 5D 5E 5F 60 61 62 63", "< 203 64 65 66 67 68 69 6A 6B",
         "< 203 6C 6D 6E 6F 70 71 72 73", "< 203 74 75 76 77 78 79 7A 7B",
         "< 203 7C 7D 7E 7F 30 91 99 03");
    PLAY(rig, "> 202 01 88 12 11 40 20 00 08", "> 202 00 01 02 03 04 05 06 07",
         "> 202 08 09 0A 0B 0C 0D 0E 0F", "> 202 10 11 12 13 14 15 16 17",
         "> 202 18 19 1A 1B 1C 1D 1E 1F", "> 202 20 21 22 23 24 25 26 27",
         "> 202 28 29 2A 2B 2C 2D 2E 2F", "> 202 30 31 32 33 34 35 36 37",
         "> 202 38 39 3A 3B 3C 3D 3E 3F", "> 202 7C 84 99 03", "< 203 01 88 F2 00 00 BF 99 03");
    PLAY(rig, "> 202 01 88 15 00 91 1B 99 03", "< 203 01 88 A0 01 15 00 00 00", "< 203 00 2E 99 03",
         "- 100", CONNECT_A, ".", "> 204 01 88 16 00 F9 31 99 03", "< 205 01 88 A0 03 16 00 00 00");
    can_rig_free(rig);
}

/* ---- admin frames ---- */

static void data_right_behind_the_id_is_lost(void **state)
{
    (void)state;
    struct can_rig *rig = nodes(1, NULL);
    PLAY(rig, SET_A, ID_OF_A, ".", ID_OF_A, A_TELLS_ID);
    can_rig_free(rig);
}

static void an_id_is_lost_to_whoever_else_gets_it(void **state)
{
    (void)state;
    struct can_rig *rig = nodes(1, NULL);
    PLAY(rig, SET_A, SET_A, LATER, ID_OF_A, A_TELLS_ID);
    PLAY(rig, "> 3F0 11 00 00 00 00 00 00 82", LATER, ID_OF_A, A_TELLS_ID);
    PLAY(rig, "> 3F0 11 00 00 00 00 00 00 81", LATER, ID_OF_A, ".", QUERY, IS_A);
    PLAY(rig, SET_A, LATER, "> 203 00", LATER, ID_OF_A, ".", QUERY, IS_A);
    PLAY(rig, SET_A, LATER, CLEAR, LATER, ID_OF_A, ".", QUERY, IS_A);
    can_rig_free(rig);
}

static void a_short_or_foreign_frame_changes_nothing(void **state)
{
    (void)state;
    struct can_rig *rig = nodes(1, NULL);
    PLAY(rig, "> 3F0 11 87 E8 46 57 E6 76", "> 3F0 01 87 E8 46 57 E6 76 81",
         "> 3F0 02 87 E8 46 57 E6 76", "> 3F0", LATER, ID_OF_A, ".", QUERY, IS_A, ".");
    can_rig_free(rig);
}

static void the_ninth_admin_frame_of_a_pass_is_lost(void **state)
{
    (void)state;
    struct can_rig *rig = nodes(1, NULL);
    PLAY(rig, CLEAR, CLEAR, CLEAR, CLEAR, CLEAR, CLEAR, CLEAR, SET_A, LATER, ID_OF_A, A_TELLS_ID);
    PLAY(rig, CLEAR, LATER, CLEAR, CLEAR, CLEAR, CLEAR, CLEAR, CLEAR, CLEAR, CLEAR, SET_A, LATER,
         ID_OF_A, ".");
    can_rig_free(rig);
}

/* The bytes that came before are still there: what follows completes them. */
static void clearing_the_id_keeps_the_receive_buffer(void **state)
{
    (void)state;
    struct can_rig *rig = node_a();
    PLAY(rig, BLOCK_BEGINS, CLEAR, LATER, SET_A, LATER, BLOCK_ENDS, BLOCK_DONE);
    can_rig_free(rig);
}

/* ---- what is lost, and what that does ---- */

static void a_lost_frame_wedges_for_good_but_for_admin_frames(void **state)
{
    (void)state;
    struct can_rig *rig = node_a();
    PLAY(rig, "> 202 01 88 12 11 00 20 00 08", "> 202 00 01 02 03 04 05 06 07", "- 100");
    PLAY(rig, BLOCK_BEGINS, BLOCK_ENDS, "< 203 01 88 F1 00 68 95 99 03", ".", CONNECT_A, ".",
         CONNECT_A, ".");
    PLAY(rig, CLEAR, LATER, QUERY, IS_A, SET_A, LATER, CONNECT_A, ".");
    virtual_bus_reset(rig->bus, NULL, VRESET_POWER);
    PLAY(rig, "- 200", SET_A, LATER, CONNECT_A, CONNECTED_A);
    can_rig_free(rig);
}

/* 20 bytes of answer each: four would fit. They follow each other without a gap. What comes while
 * the processor stands still does not. */
static void an_erasing_stm32_keeps_three_frames(void **state)
{
    (void)state;
    struct can_rig *rig = node_a();
    rig->nodes[0].flash[0x2000] = 0;
    PLAY(rig, BLOCK_BEGINS, BLOCK_ENDS, ID_OF_A, ID_OF_A, ID_OF_A, ID_OF_A, BLOCK_DONE);
    PLAY(rig, "< 203 01 88 A0 03 16 00 00 00", "< 203 87 E8 46 57 E6 76 00 00",
         "< 203 0A 34 99 03 01 88 A0 03", "< 203 16 00 00 00 87 E8 46 57",
         "< 203 E6 76 00 00 0A 34 99 03", "< 203 01 88 A0 03 16 00 00 00",
         "< 203 87 E8 46 57 E6 76 00 00", "< 203 0A 34 99 03", ".");
    can_rig_free(rig);
}

static void an_erasing_rp2040_hears_everything(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_new("rp2040", 1, 0, NULL, false);
    PLAY(rig, QUERY, "< 3F1 20 BB EE 84 D5 96 CC 11", "> 3F0 11 BB EE 84 D5 96 CC 81", LATER);
    for (int i = 0; i < 4; i++) /* 0x10004000: only collected */
        PLAY(rig, "> 202 01 88 13 00 41 4F 99 03", "< 203 01 88 A0 02 13 00 00 00",
             "< 203 00 00 00 00 96 D8 99 03");
    can_rig_free(rig);
}

static void an_answer_that_does_not_fit_is_lost_whole(void **state)
{
    (void)state;
    struct can_rig *rig = node_a();
    PLAY(rig, BLOCK_BEGINS, BLOCK_ENDS, BLOCK_DONE);
    PLAY(rig, ASK_FIRST, ASK_FIRST, FIRST_IS, ".", ASK_FIRST, FIRST_IS);
    can_rig_free(rig);
}

/* 56 of 80 bytes: the sheet's rule for asking ahead. */
static void asking_after_seven_frames_loses_nothing(void **state)
{
    (void)state;
    struct can_rig *rig = node_a();
    const char *const answer[] = {FIRST_IS};
    PLAY(rig, BLOCK_BEGINS, BLOCK_ENDS, BLOCK_DONE, ASK_FIRST);
    for (int i = 0; i < 30; i++) {
        for (size_t k = 0; k < 7; k++)
            PLAY(rig, answer[k]);
        PLAY(rig, ASK_FIRST, answer[7], answer[8], answer[9]);
    }
    PLAY(rig, FIRST_IS, ".");
    can_rig_free(rig);
}

static void a_block_behind_the_flash_hangs_the_chip(void **state)
{
    (void)state;
    struct can_rig *rig = node_a();
    PLAY(rig, "> 202 01 88 14 00 49 02 99 03", ".", QUERY, ".", SET_A, LATER, CONNECT_A, ".");
    can_rig_free(rig);
}

static void an_old_loader_does_not_know_its_uuid(void **state)
{
    (void)state;
    struct can_rig *rig = nodes(1, "no-canbus-id");
    PLAY(rig, SET_A, LATER, ID_OF_A, "< 203 01 88 F2 00 00 BF 99 03");
    can_rig_free(rig);
}

/* ---- Klipper ---- */

#define REQUEST_A "> 3F0 02 87 E8 46 57 E6 76"

static struct can_rig *klipper(const char *variant)
{
    struct can_rig *rig = nodes(2, NULL); /* the other one acknowledges */
    PLAY(rig, SET_B, LATER);
    can_rig_klipper(rig, 0, "\"MCU\":\"stm32f103xe\",\"CANBUS_FREQUENCY\":1000000", variant);
    return rig;
}

static void klipper_answers_and_goes_into_its_bootloader(void **state)
{
    (void)state;
    struct can_rig *rig = klipper(NULL);
    PLAY(rig, QUERY, "< 3F1 20 87 E8 46 57 E6 76 01", SET_A, LATER, CONNECT_A, ".");
    PLAY(rig, "> 3F0 02 9E 20 E6 05 76 F6", "> 3F0 02 87 E8 46 57 E6", LATER, QUERY,
         "< 3F1 20 87 E8 46 57 E6 76 01");
    PLAY(rig, REQUEST_A, "- 20", SET_A, CONNECT_A, ".", QUERY, IS_A, SET_A, LATER, CONNECT_A,
         CONNECTED_A);
    can_rig_free(rig);
}

static void klipper_with_an_id_is_silent_but_obeys(void **state)
{
    (void)state;
    struct can_rig *rig = klipper("assigned");
    PLAY(rig, QUERY, ".", REQUEST_A, "- 200", QUERY, IS_A);
    can_rig_free(rig);
}

static void klipper_of_old_tells_no_tag(void **state)
{
    (void)state;
    struct can_rig *rig = klipper("untagged");
    PLAY(rig, QUERY, "< 3F1 20 87 E8 46 57 E6 76");
    can_rig_free(rig);
}

/* The example of Klipper's sheet: a first block, its answer's head, and the acknowledgement. */
static void klipper_speaks_over_its_ids(void **state)
{
    (void)state;
    struct can_rig *rig = klipper(NULL);
    PLAY(rig, "> 3F0 01 87 E8 46 57 E6 76 04", LATER, "> 108 08 10 01 00 28 5E 9F 7E");
    struct can_frame frame;
    uint8_t bytes[64];
    size_t count = 0;
    while (can_receive(rig->host, &frame, clock_in(rig->host->clock, MILLISECOND), NULL) == 1) {
        assert_int_equal(frame.can_id, 0x109);
        assert_true(count + frame.len <= sizeof bytes);
        memcpy(bytes + count, frame.data, frame.len);
        count += frame.len;
    }
    assert_int_equal(count, 48 + 5);
    assert_memory_equal(bytes, ((uint8_t[]){0x30, 0x11, 0x00, 0x00, 0x28, 0x78, 0xda}), 7);
    assert_memory_equal(bytes + 48, ((uint8_t[]){0x05, 0x11, 0x8f, 0x08, 0x7e}), 5);
    PLAY(rig, QUERY, ".", "> 3F0 01 9E 20 E6 05 76 F6 04", LATER, QUERY,
         "< 3F1 20 87 E8 46 57 E6 76 01");
    can_rig_free(rig);
}

static void a_reset_waits_for_a_second_one(void **state)
{
    (void)state;
    struct can_rig *rig = klipper(NULL);
    virtual_bus_reset(rig->bus, NULL, VRESET_PIN);
    PLAY(rig, "- 300", "- 210", QUERY, "< 3F1 20 87 E8 46 57 E6 76 01");
    virtual_bus_reset(rig->bus, NULL, VRESET_PIN);
    PLAY(rig, "- 100");
    virtual_bus_reset(rig->bus, NULL, VRESET_PIN);
    PLAY(rig, "- 150", QUERY, IS_A);
    can_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example_of_two_nodes_byte_for_byte),
        cmocka_unit_test(data_right_behind_the_id_is_lost),
        cmocka_unit_test(an_id_is_lost_to_whoever_else_gets_it),
        cmocka_unit_test(a_short_or_foreign_frame_changes_nothing),
        cmocka_unit_test(the_ninth_admin_frame_of_a_pass_is_lost),
        cmocka_unit_test(clearing_the_id_keeps_the_receive_buffer),
        cmocka_unit_test(a_lost_frame_wedges_for_good_but_for_admin_frames),
        cmocka_unit_test(an_erasing_stm32_keeps_three_frames),
        cmocka_unit_test(an_erasing_rp2040_hears_everything),
        cmocka_unit_test(an_answer_that_does_not_fit_is_lost_whole),
        cmocka_unit_test(asking_after_seven_frames_loses_nothing),
        cmocka_unit_test(a_block_behind_the_flash_hangs_the_chip),
        cmocka_unit_test(an_old_loader_does_not_know_its_uuid),
        cmocka_unit_test(klipper_answers_and_goes_into_its_bootloader),
        cmocka_unit_test(klipper_with_an_id_is_silent_but_obeys),
        cmocka_unit_test(klipper_of_old_tells_no_tag),
        cmocka_unit_test(klipper_speaks_over_its_ids),
        cmocka_unit_test(a_reset_waits_for_a_second_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
