"""The functions of libcrypto that are called: what each returns, then its arguments."""

from __future__ import annotations

from ctypes import CFUNCTYPE, c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p

# int callback(char *buffer, int size, int encrypting, void *data): pem_password_cb(3)
PASSWORD = CFUNCTYPE(c_int, c_void_p, c_int, c_int, c_void_p)

_P, _I, _S, _N = c_void_p, c_int, c_char_p, c_size_t
FUNCTIONS: dict[str, tuple[type | None, ...]] = {
    "OpenSSL_version_num": (c_ulong,),
    "OpenSSL_version": (_S, _I),
    "ERR_clear_error": (None,),
    "EVP_CIPHER_CTX_new": (_P,),
    "EVP_CIPHER_CTX_free": (None, _P),
    "EVP_CIPHER_CTX_set_flags": (None, _P, _I),
    "EVP_CIPHER_CTX_set_padding": (_I, _P, _I),
    "EVP_CIPHER_CTX_ctrl": (_I, _P, _I, _I, _S),
    "EVP_get_cipherbyname": (_P, _S),
    "EVP_CipherInit_ex": (_I, _P, _P, _P, _S, _S, _I),
    "EVP_CipherUpdate": (_I, _P, _S, _P, _S, _I),
    "EVP_CipherFinal_ex": (_I, _P, _S, _P),
    "EVP_get_digestbyname": (_P, _S),
    "EVP_MD_CTX_new": (_P,),
    "EVP_MD_CTX_free": (None, _P),
    "EVP_DigestSignInit": (_I, _P, _P, _P, _P, _P),
    "EVP_DigestSign": (_I, _P, _S, _P, _S, _N),
    "EVP_DigestVerifyInit": (_I, _P, _P, _P, _P, _P),
    "EVP_DigestVerify": (_I, _P, _S, _N, _S, _N),
    "EVP_PKEY_free": (None, _P),
    "EVP_PKEY_get_base_id": (_I, _P),
    "EVP_PKEY_get_bits": (_I, _P),
    "EVP_PKEY_get_utf8_string_param": (_I, _P, _S, _S, _N, _P),
    "EVP_PKEY_CTX_new": (_P, _P, _P),
    "EVP_PKEY_CTX_new_id": (_P, _I, _P),
    "EVP_PKEY_CTX_free": (None, _P),
    "EVP_PKEY_CTX_set_rsa_padding": (_I, _P, _I),
    "EVP_PKEY_CTX_set_rsa_oaep_md": (_I, _P, _P),
    "EVP_PKEY_CTX_set_rsa_mgf1_md": (_I, _P, _P),
    "EVP_PKEY_CTX_set_ec_paramgen_curve_nid": (_I, _P, _I),
    "EVP_PKEY_encrypt_init": (_I, _P),
    "EVP_PKEY_encrypt": (_I, _P, _S, _P, _S, _N),
    "EVP_PKEY_decrypt_init": (_I, _P),
    "EVP_PKEY_decrypt": (_I, _P, _S, _P, _S, _N),
    "EVP_PKEY_derive_init": (_I, _P),
    "EVP_PKEY_derive_set_peer": (_I, _P, _P),
    "EVP_PKEY_derive": (_I, _P, _S, _P),
    "EVP_PKEY_keygen_init": (_I, _P),
    "EVP_PKEY_keygen": (_I, _P, _P),
    "BIO_new_mem_buf": (_P, _S, _I),
    "BIO_free": (_I, _P),
    "PEM_read_bio_PrivateKey": (_P, _P, _P, PASSWORD, _P),
    "d2i_PKCS8PrivateKey_bio": (_P, _P, _P, PASSWORD, _P),
    "d2i_AutoPrivateKey": (_P, _P, _P, c_long),
    "d2i_PUBKEY": (_P, _P, _P, c_long),
    "i2d_PUBKEY": (_I, _P, _P),
    "d2i_X509": (_P, _P, _P, c_long),
    "X509_get_pubkey": (_P, _P),
    "X509_free": (None, _P),
}
