// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev Stands where subtensor's sr25519 precompile does. It cannot check a signature: it knows
/// those that a test has allowed, each for one message and key.
contract Sr25519Mock {
    mapping(bytes32 => bool) private _allowed;

    function allow(bytes32 message, bytes32 publicKey, bytes32 r, bytes32 s) external {
        _allowed[keccak256(abi.encode(message, publicKey, r, s))] = true;
    }

    function verify(bytes32 message, bytes32 publicKey, bytes32 r, bytes32 s)
        external
        view
        returns (bool)
    {
        return _allowed[keccak256(abi.encode(message, publicKey, r, s))];
    }
}

/// @dev Stands where subtensor's storage-query precompile does: the call's data is a key, the
/// answer the value, both raw. A test writes by `put(bytes,bytes)`: key, value.
contract StorageMock {
    bytes4 private constant PUT = bytes4(keccak256("put(bytes,bytes)"));

    mapping(bytes32 => bytes) private _values;

    fallback(bytes calldata data) external returns (bytes memory) {
        if (data.length >= 4 && bytes4(data[:4]) == PUT) {
            (bytes memory key, bytes memory value) = abi.decode(data[4:], (bytes, bytes));
            _values[keccak256(key)] = value;
            return "";
        }
        return _values[keccak256(data)];
    }
}

/// @dev Answers every call with the same bytes, whatever was asked.
contract Garbage {
    bytes private _answer;

    function set(bytes calldata answer) external {
        _answer = answer;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        return _answer;
    }
}

/// @dev Fails at every call.
contract Failing {
    fallback() external {
        revert("not here");
    }
}
