// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev The part of forge's cheat codes that the tests use.
interface Vm {
    function etch(address target, bytes calldata code) external;
    function prank(address sender) external;
    function warp(uint256 timestamp) external;
    function roll(uint256 number) external;
    function chainId(uint256 id) external;
    function assume(bool condition) external pure;
    function expectRevert(bytes calldata data) external;
    function expectEmit(address emitter) external;
}

/// @dev forge takes a call to the last one as an instruction.
Vm constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

abstract contract Testing {
    error Unequal(bytes32 left, bytes32 right);
    error Untrue(string what);

    function assertEq(bytes32 left, bytes32 right) internal pure {
        if (left != right) revert Unequal(left, right);
    }

    function assertTrue(bool value, string memory what) internal pure {
        if (!value) revert Untrue(what);
    }
}
