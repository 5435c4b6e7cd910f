// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ScoreLedger} from "../src/ScoreLedger.sol";
import {SR25519_VERIFY} from "../src/interfaces/ISr25519Verify.sol";
import {Ledgers} from "./Ledgers.sol";
import {Failing, Garbage} from "./Precompiles.sol";
import {VM} from "./Testing.sol";

/// @dev Who may post for a hotkey: tests are named after what somebody tries.
contract BindingTest is Ledgers {
    function test_binds_and_says_so() public {
        (bytes32 r, bytes32 s) = sign(HOTKEY, STRANGER, EXPIRY);
        VM.expectEmit(address(ledger));
        emit ScoreLedger.Bound(HOTKEY, STRANGER, 1);
        VM.prank(STRANGER);
        ledger.bind(HOTKEY, EXPIRY, r, s);
        requirePoster(STRANGER, 2);
    }

    function test_the_message_is_what_the_documents_say() public view {
        bytes32 expected = keccak256(
            abi.encode(
                keccak256("assay/v1/evm-binding"),
                address(ledger),
                block.chainid,
                HOTKEY,
                POSTER,
                uint256(3),
                EXPIRY
            )
        );
        assertEq(ledger.computeBindingMessage(HOTKEY, POSTER, 3, EXPIRY), expected);
    }

    function test_replayed_binding() public {
        (bytes32 r, bytes32 s) = sign(HOTKEY, STRANGER, EXPIRY);
        VM.prank(STRANGER);
        ledger.bind(HOTKEY, EXPIRY, r, s);
        bind(HOTKEY, POSTER); // the hotkey has changed its mind
        refuse(STRANGER, HOTKEY, EXPIRY, r, s);
        requirePoster(POSTER, 3);
    }

    function test_expired_binding() public {
        (bytes32 r, bytes32 s) = sign(HOTKEY, STRANGER, EXPIRY);
        VM.warp(EXPIRY + 1);
        VM.expectRevert(abi.encodeWithSelector(ScoreLedger.BindingExpired.selector, EXPIRY));
        VM.prank(STRANGER);
        ledger.bind(HOTKEY, EXPIRY, r, s);
        VM.warp(EXPIRY);
        VM.prank(STRANGER);
        ledger.bind(HOTKEY, EXPIRY, r, s); // the last second counts
    }

    function test_binding_of_someone_elses_hotkey() public {
        (bytes32 r, bytes32 s) = sign(keccak256("my own hotkey"), STRANGER, EXPIRY);
        refuse(STRANGER, HOTKEY, EXPIRY, r, s);
    }

    function test_a_signature_seen_in_the_pool_serves_nobody_else() public {
        (bytes32 r, bytes32 s) = sign(HOTKEY, POSTER, EXPIRY);
        refuse(STRANGER, HOTKEY, EXPIRY, r, s);
    }

    function test_an_expiry_that_was_not_signed() public {
        (bytes32 r, bytes32 s) = sign(HOTKEY, STRANGER, EXPIRY);
        refuse(STRANGER, HOTKEY, EXPIRY + 1, r, s);
    }

    function test_a_signature_for_another_chain() public {
        VM.chainId(945);
        (bytes32 r, bytes32 s) = sign(HOTKEY, STRANGER, EXPIRY);
        VM.chainId(964);
        refuse(STRANGER, HOTKEY, EXPIRY, r, s);
    }

    function test_a_signature_for_another_ledger() public {
        (bytes32 r, bytes32 s) = sign(HOTKEY, STRANGER, EXPIRY);
        (, uint96 nonce) = ledger.bindings(HOTKEY);
        ledger = new ScoreLedger();
        for (uint96 i = 0; i < nonce; ++i) {
            bind(HOTKEY, POSTER);
        }
        refuse(STRANGER, HOTKEY, EXPIRY, r, s);
    }

    function test_precompile_absent() public {
        (bytes32 r, bytes32 s) = sign(HOTKEY, STRANGER, EXPIRY);
        VM.etch(SR25519_VERIFY, "");
        refuseForPrecompile(r, s);
    }

    function test_precompile_fails() public {
        (bytes32 r, bytes32 s) = sign(HOTKEY, STRANGER, EXPIRY);
        VM.etch(SR25519_VERIFY, address(new Failing()).code);
        refuseForPrecompile(r, s);
    }

    function test_precompile_answers_garbage() public {
        (bytes32 r, bytes32 s) = sign(HOTKEY, STRANGER, EXPIRY);
        VM.etch(SR25519_VERIFY, address(new Garbage()).code);
        bytes[5] memory answers = [
            bytes(hex"01"),
            abi.encode(uint256(2)),
            abi.encode(type(uint256).max),
            abi.encode(true, true),
            abi.encodePacked(uint248(1))
        ];
        for (uint256 i = 0; i < answers.length; ++i) {
            Garbage(SR25519_VERIFY).set(answers[i]);
            refuseForPrecompile(r, s);
        }
    }

    function testFuzz_no_other_signature_binds(bytes32 r, bytes32 s) public {
        (bytes32 right, bytes32 rest) = sign(HOTKEY, STRANGER, EXPIRY);
        VM.assume(r != right || s != rest);
        refuse(STRANGER, HOTKEY, EXPIRY, r, s);
    }

    function refuse(address caller, bytes32 hotkey, uint256 expiry, bytes32 r, bytes32 s) private {
        VM.expectRevert(abi.encodeWithSelector(ScoreLedger.SignatureRefused.selector));
        VM.prank(caller);
        ledger.bind(hotkey, expiry, r, s);
    }

    function refuseForPrecompile(bytes32 r, bytes32 s) private {
        VM.expectRevert(
            abi.encodeWithSelector(ScoreLedger.PrecompileFailed.selector, SR25519_VERIFY)
        );
        VM.prank(STRANGER);
        ledger.bind(HOTKEY, EXPIRY, r, s);
    }

    function requirePoster(address expected, uint96 times) private view {
        (address poster, uint96 nonce) = ledger.bindings(HOTKEY);
        assertTrue(poster == expected && nonce == times, "bound to another, or not that often");
    }
}
