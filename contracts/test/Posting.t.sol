// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ScoreLedger} from "../src/ScoreLedger.sol";
import {Ledgers} from "./Ledgers.sol";
import {VM} from "./Testing.sol";

/// @dev What is written down, and by whom.
contract PostingTest is Ledgers {
    function test_posts_and_says_so() public {
        ScoreLedger.Entry memory entry = makeEntry(keccak256("root"));
        VM.expectEmit(address(ledger));
        emit ScoreLedger.Posted(NETUID, HOTKEY, EPOCH, entry);
        post(entry);
        assertEq(ledger.digests(NETUID, HOTKEY, EPOCH), keccak256(abi.encode(entry)));
    }

    function test_the_slot_is_the_digest_of_the_five_fields() public {
        ScoreLedger.Entry memory entry = makeEntry(keccak256("root"));
        post(entry);
        bytes32 expected = keccak256(
            abi.encode(
                entry.scoreRoot,
                entry.recordDigest,
                entry.checkpoint,
                entry.auditRound,
                entry.weightsDigest
            )
        );
        assertEq(ledger.digests(NETUID, HOTKEY, EPOCH), expected);
    }

    function test_foreign_poster() public {
        refuseFrom(STRANGER, HOTKEY, POSTER);
        bind(keccak256("my own hotkey"), STRANGER);
        refuseFrom(STRANGER, HOTKEY, POSTER);
    }

    function test_a_hotkey_that_nobody_bound() public {
        refuseFrom(POSTER, keccak256("unbound"), address(0));
    }

    function test_a_poster_that_was_replaced() public {
        bind(HOTKEY, STRANGER);
        refuseFrom(POSTER, HOTKEY, STRANGER);
    }

    function test_rewritten_settlement() public {
        ScoreLedger.Entry memory entry = makeEntry(keccak256("root"));
        post(entry);
        bytes memory refusal = abi.encodeWithSelector(
            ScoreLedger.AlreadyPosted.selector, keccak256(abi.encode(entry))
        );
        VM.expectRevert(refusal);
        post(makeEntry(keccak256("a better root")));
        VM.expectRevert(refusal);
        post(entry); // the same once more is refused, too
        bind(HOTKEY, STRANGER);
        VM.prank(STRANGER);
        VM.expectRevert(refusal); // and another poster rewrites no more than the first
        ledger.post(NETUID, HOTKEY, EPOCH, makeEntry(keccak256("a better root")));
    }

    function test_a_settlement_that_is_to_come() public {
        VM.roll(EPOCH - 1);
        VM.expectRevert(abi.encodeWithSelector(ScoreLedger.EpochAhead.selector, EPOCH));
        post(makeEntry(keccak256("root")));
        VM.roll(EPOCH);
        post(makeEntry(keccak256("root")));
    }

    function test_zero_root() public {
        VM.expectRevert(abi.encodeWithSelector(ScoreLedger.ZeroRoot.selector));
        post(makeEntry(0));
    }

    function test_takes_no_money() public {
        (bool ok,) = address(ledger).call{value: 1}("");
        assertTrue(!ok, "took money");
        bytes memory call =
            abi.encodeCall(ScoreLedger.post, (NETUID, HOTKEY, EPOCH, makeEntry(keccak256("root"))));
        VM.prank(POSTER);
        (ok,) = address(ledger).call{value: 1}(call);
        assertTrue(!ok, "took money for a post");
    }

    function testFuzz_settlements_do_not_touch(uint16 netuid, bytes32 hotkey, uint64 epoch) public {
        VM.assume(netuid != NETUID || hotkey != HOTKEY || epoch != EPOCH);
        post(makeEntry(keccak256("root")));
        assertEq(ledger.digests(netuid, hotkey, epoch), 0);
        if (hotkey != HOTKEY) bind(hotkey, POSTER);
        ScoreLedger.Entry memory other = makeEntry(keccak256("another"));
        VM.prank(POSTER);
        ledger.post(netuid, hotkey, epoch, other);
        assertTrue(ledger.isPosted(netuid, hotkey, epoch, other), "lost");
        assertTrue(!ledger.isPosted(NETUID, HOTKEY, EPOCH, other), "written elsewhere");
    }

    function testFuzz_one_changed_field_is_another_entry(
        ScoreLedger.Entry memory entry,
        uint8 field,
        bytes32 value
    ) public {
        VM.assume(entry.scoreRoot != 0);
        post(entry);
        bytes32 before = keccak256(abi.encode(entry));
        if (field % 5 == 0) entry.scoreRoot = value;
        if (field % 5 == 1) entry.recordDigest = value;
        if (field % 5 == 2) entry.checkpoint = value;
        if (field % 5 == 3) entry.auditRound = uint64(uint256(value) & type(uint64).max);
        if (field % 5 == 4) entry.weightsDigest = value;
        bool isSame = keccak256(abi.encode(entry)) == before;
        assertTrue(ledger.isPosted(NETUID, HOTKEY, EPOCH, entry) == isSame, "taken for posted");
    }

    function refuseFrom(address caller, bytes32 hotkey, address poster) private {
        VM.expectRevert(abi.encodeWithSelector(ScoreLedger.NotThePoster.selector, hotkey, poster));
        VM.prank(caller);
        ledger.post(NETUID, hotkey, EPOCH, makeEntry(keccak256("root")));
    }
}
